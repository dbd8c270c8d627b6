"""The technical report of a submission as a PDF: its tables from the runs, its prose from the authors.

Conventions: A4, one column. Where the authors wrote nothing yet, a coloured line asks for what belongs there. Equal
content makes equal bytes. Accuracies in percent, log losses natural, sizes in bytes, energy in kWh.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from experiments.submission.about import SECTIONS, About

Rows = Sequence[Sequence[str]]  # of a table; the first row is the header, the first column names the rows
Captioned = tuple[str, Rows]
Plot = tuple[str, bytes]  # caption and PNG

FONT = "DejaVuSerif"  # Matplotlib's: it has the letters of most of Europe's names, which PDF's own fonts have not
STYLES = {"normal": "", "bold": "-Bold", "italic": "-Italic", "boldItalic": "-BoldItalic"}
MARGIN = 2 * cm
WIDTH = A4[0] - 2 * MARGIN
PADDING = 4  # points, on either side of a table's cell
MISSING = colors.HexColor("#b3261e")
WANTED = {  # section: what the authors are asked for
    "abstract": "what was built, how small it is and how well it does, in some sentences",
    "introduction": "the problem, what others did, and what is new here",
    "system": "the network, its teachers and how it learns from them",
    "data": "what it was trained on, how it was split, and what was held out",
    "results": "what the metrics say, and where the system fails",
    "complexity": "how the size was brought down, and what that cost",
    "energy": "the hardware that was measured on",
}


def report_pdf(
    about: About,
    tables: Mapping[str, Sequence[Captioned]],
    references: Sequence[str],
    plots: Sequence[Plot] = (),
) -> bytes:
    """The whole report as the bytes of a PDF.

    Args:
        about: title, authors and prose.
        tables: of each section, see report_tables.py; a section may have none.
        references: what the systems are made of; those of the authors come after them.
        plots: among the results.
    """
    fonts()
    styles = _styles()
    story: list[Flowable] = [Paragraph(escape(about.title), styles["title"]), *_authors(about, styles)]
    for number, section in enumerate(SECTIONS):
        story += _section(section, number, about, tables.get(section, ()), styles)
        if section == "results" and plots:
            story.append(gallery(plots, styles))
    story.append(Paragraph("References", styles["heading"]))
    for number, reference in enumerate([*references, *about.references], 1):
        story.append(Paragraph(f"[{number}] {escape(reference)}", styles["reference"]))
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        title=about.title,
        author=", ".join(f"{author['firstname']} {author['lastname']}" for author in about.authors),
        invariant=1,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
    )
    document.build(story)
    return buffer.getvalue()


def _section(
    section: str, number: int, about: About, tables: Sequence[Captioned], styles: Mapping[str, ParagraphStyle]
) -> list[Flowable]:
    """A heading, what the authors wrote or a line that asks for it, and tables; the abstract, number 0, has none."""
    story: list[Flowable] = [
        Paragraph(f"{f'{number}. ' if number else ''}{section.capitalize()}", styles["heading"]),
    ]
    if section in about.texts:
        story += [Paragraph(escape(part), styles["text"]) for part in about.texts[section].split("\n\n")]
    else:
        story.append(Paragraph(f"[To be written by the authors: {WANTED[section]}]", styles["missing"]))
    for caption, rows in tables:
        story.append(KeepTogether([Paragraph(caption, styles["caption"]), _table(rows, styles), Spacer(0, 0.3 * cm)]))
    return story


def fonts() -> None:
    """Make the fonts known to reportlab."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for style in STYLES.values():
        pdfmetrics.registerFont(TTFont(f"{FONT}{style}", str(folder / f"{FONT}{style}.ttf")))
    pdfmetrics.registerFontFamily(FONT, **{name: f"{FONT}{style}" for name, style in STYLES.items()})


def unprinted(text: str) -> str:
    """The characters, each once, that the font has not."""
    fonts()
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    return "".join(sorted({character for character in text if ord(character) not in known and character.isprintable()}))


def _styles() -> Mapping[str, ParagraphStyle]:
    text = ParagraphStyle("text", fontName=FONT, fontSize=9.5, leading=13, spaceAfter=4)

    def like(name: str, **changes: Any) -> ParagraphStyle:
        return ParagraphStyle(name, parent=text, **changes)

    return {
        "text": text,
        "title": like("title", fontName=f"{FONT}-Bold", fontSize=16, leading=20, alignment=1, spaceAfter=8),
        "author": like("author", alignment=1),
        "heading": like("heading", fontName=f"{FONT}-Bold", fontSize=12, leading=15, spaceBefore=12, keepWithNext=1),
        "caption": like("caption", fontName=f"{FONT}-Italic", fontSize=8.5, leading=11, spaceBefore=6, keepWithNext=1),
        "missing": like("missing", textColor=MISSING),
        "cell": like("cell", fontSize=8, leading=10, spaceAfter=0),
        "head": like("head", fontName=f"{FONT}-Bold", fontSize=8, leading=10, spaceAfter=0),
        "reference": like("reference", fontSize=8.5, leading=11, leftIndent=14, firstLineIndent=-14),
    }


def _authors(about: About, styles: Mapping[str, ParagraphStyle]) -> list[Flowable]:
    """Names with their institutes, and the corresponding author's address."""
    lines = []
    for author in about.authors:
        place = author["affiliation"]
        parts = [place.get("department"), place["institute"], place.get("location")]
        mail = f", {author['email']}" if author.get("corresponding") is True else ""
        lines.append(f"<b>{escape(author['firstname'])} {escape(author['lastname'])}</b>{escape(mail)}")
        lines.append(escape(", ".join(str(part) for part in parts if part)))
    return [Paragraph("<br/>".join(lines), styles["author"]), Spacer(0, 0.4 * cm)]


def _table(rows: Rows, styles: Mapping[str, ParagraphStyle]) -> Table:
    cells = [
        [Paragraph(escape(cell), styles["head" if number == 0 else "cell"]) for cell in row]
        for number, row in enumerate(rows)
    ]
    ruled: list[tuple[Any, ...]] = [
        ("LINEABOVE", (0, 0), (-1, 0), 0.8, colors.black),
        ("LINEBELOW", (0, 0), (-1, 0), 0.4, colors.black),
    ]
    ruled += [("LINEBELOW", (0, -1), (-1, -1), 0.8, colors.black), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    ruled += [("LEFTPADDING", (0, 0), (-1, -1), PADDING), ("RIGHTPADDING", (0, 0), (-1, -1), PADDING)]
    ruled += [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]
    return Table(cells, _widths(rows, styles), style=TableStyle(ruled), repeatRows=1, splitInRow=1)


def _widths(rows: Rows, styles: Mapping[str, ParagraphStyle]) -> list[float]:
    """Of a table's columns, points: all but the first alike, unless words would be broken that fit otherwise."""
    columns = len(rows[0])
    first = WIDTH * max(0.25, 1 / columns)
    alike = [first, *[(WIDTH - first) / (columns - 1)] * (columns - 1)]
    needed = [0.0] * columns
    for number, row in enumerate(rows):
        style = styles["head" if number == 0 else "cell"]
        for column, cell in enumerate(row):
            words = (pdfmetrics.stringWidth(word, style.fontName, style.fontSize) for word in cell.split())
            needed[column] = max(needed[column], max(words, default=0.0) + 2 * PADDING)
    spare = (WIDTH - sum(needed)) / columns
    is_broken = any(width < need for width, need in zip(alike, needed, strict=True))
    return [need + spare for need in needed] if is_broken and spare > 0 else alike


def gallery(plots: Sequence[Plot], styles: Mapping[str, ParagraphStyle]) -> Table:
    """Each with its caption below: two side by side, but for those that were drawn twice as wide as others."""
    narrow = min(Image(io.BytesIO(png)).imageWidth for _, png in plots)
    rows: list[list[Any]] = []
    form: list[tuple[Any, ...]] = [("VALIGN", (0, 0), (-1, -1), "TOP")]
    for caption, png in plots:
        is_wide = Image(io.BytesIO(png)).imageWidth > 1.5 * narrow
        cell = [_image(png, WIDTH / (1 if is_wide else 2) - 0.2 * cm), Paragraph(escape(caption), styles["caption"])]
        if not is_wide and rows and rows[-1][1] == "":
            rows[-1][1] = cell
        else:
            rows.append([cell, None if is_wide else ""])
            form += [("SPAN", (0, len(rows) - 1), (1, len(rows) - 1))] * is_wide
    return Table(rows, [WIDTH / 2] * 2, style=TableStyle(form))


def _image(png: bytes, width: float) -> Image:
    image = Image(io.BytesIO(png))
    image.drawWidth, image.drawHeight = width, width * image.imageHeight / image.imageWidth
    return image
