"""Pictures of digits with a label before each row, for the pages in docs/."""

from PIL import Image, ImageDraw, ImageFont

from vqdiffusion.demo.pictures import draw

INK, PAPER = (28, 32, 64), (250, 248, 243)


def save_rows(path, rows, *, scale=4, text_size=14):
    """Writes a PNG of rows (label, digits), one below the other, digits of shape (n, 64)."""
    strips = [draw(digits, len(digits), scale).convert("RGB") for _, digits in rows]
    font = ImageFont.load_default(text_size)
    margin = round(max(font.getlength(label) for label, _ in rows)) + 2 * text_size
    height = strips[0].height
    picture = Image.new("RGB", (margin + max(s.width for s in strips), height * len(rows)), PAPER)
    pen = ImageDraw.Draw(picture)
    for place, ((label, _), strip) in enumerate(zip(rows, strips)):
        pen.text((text_size, height * (place + 0.5)), label, INK, font, anchor="lm")
        picture.paste(strip, (margin, height * place))
    picture.quantize(64).save(path, format="PNG", optimize=True)
