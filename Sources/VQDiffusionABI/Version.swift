// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion

/// The one place that has the version: setup.py reads it from here.
@implementation @_cdecl("vqd_version")
public func vqd_version() -> UnsafePointer<CChar>! {
    let version: StaticString = "0.1.0"
    return UnsafeRawPointer(version.utf8Start).assumingMemoryBound(to: CChar.self)
}
