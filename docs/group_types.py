"""For the API pages: parameters that a docstring describes in a group, "a, b" or "a, b : float".

griffe gives all of a group the default of its first and, where none is written, its type. Here each
gets its own of the signature.
"""

import re

import griffe

GROUP = re.compile(r"^ *\w+(, \w+)+(,? \\| : .*)?$", re.MULTILINE)


class GroupTypes(griffe.Extension):
    def on_package(self, *, pkg, **kwargs):
        self._visit(pkg)

    def _visit(self, thing):
        if thing.is_alias or thing.is_attribute:
            return
        for member in thing.members.values():
            self._visit(member)
        own = {one.name: one for one in getattr(thing, "parameters", ())}
        if own and thing.docstring and GROUP.search(thing.docstring.value):
            self._correct(thing.docstring.parsed, own)

    def _correct(self, sections, own):
        for section in sections:
            if section.kind is griffe.DocstringSectionKind.parameters:
                for one in section.value:
                    signature = own[one.name.lstrip("*")]
                    if any(one.annotation is other.annotation for other in own.values()):
                        one.annotation = signature.annotation
                    one.value = signature.default
