package chart

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	// Width is that of every picture, in pixels where it is not scaled.
	Width = 358

	textSize  = 11
	titleSize = 13
	lineSkip  = 1.35
	margin    = 6
)

// picture is a canvas with a title, from which what is drawn takes its part from the top.
type picture struct {
	svg   *canvas
	rest  draw.Canvas
	title string
}

// canvas knows how wide its texts are: where the font they are laid out for is missing, another
// one is squeezed or stretched to that, so that none is cut or runs into the next.
type canvas struct {
	*vgsvg.Canvas
	widths []vg.Length // of the texts, in the order in which they stand in the picture
}

func (c *canvas) FillString(face font.Face, at vg.Point, s string) {
	c.widths = append(c.widths, face.Width(s))
	c.Canvas.FillString(face, at, s)
}

// hold gives the texts of a picture their widths.
func (c *canvas) hold(svg string) string {
	var b strings.Builder
	for i, part := range strings.SplitAfter(svg, "<text ") {
		b.WriteString(part)
		if i < len(c.widths) {
			fmt.Fprintf(&b, `textLength="%.5g" lengthAdjust="spacingAndGlyphs" `, c.widths[i].Points())
		}
	}
	return b.String()
}

// newPicture begins one that has a title and a line below that says what it shows.
func newPicture(title, about string, height float64) *picture {
	svg := &canvas{Canvas: vgsvg.New(Width, vg.Length(height))}
	all := draw.New(svg)
	all.FillPolygon(paper.light, corners(all.Rectangle))
	p := &picture{svg: svg, rest: draw.Crop(all, margin, -margin, margin, -margin), title: title}
	p.line(title, style(titleSize, ink, true))
	if about != "" {
		p.line(about, style(textSize, faint, false))
	}
	return p
}

func corners(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}}
}

// style is that of a text.
func style(size float64, of shade, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: of.light, Font: f, Handler: text.Plain{Fonts: font.DefaultCache}}
}

// line writes a line of text below what is there, broken where it is too long.
func (p *picture) line(s string, of text.Style) {
	for _, part := range fit(s, of, p.rest.Size().X) {
		top := p.rest.Max.Y
		height := of.Font.Size * lineSkip
		p.rest.FillText(of, vg.Point{X: p.rest.Min.X, Y: top - of.Font.Size}, part)
		p.rest.Max.Y = top - height
	}
}

// fit breaks a text into lines of a width, and a word that is longer, as of the settings of a link, behind commas.
func fit(s string, of text.Style, width vg.Length) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		pieces := []string{word}
		if of.Width(word) > width {
			pieces = strings.SplitAfter(word, ",")
		}
		for i, piece := range pieces {
			longer := line + piece
			if i == 0 {
				longer = strings.TrimSpace(line + " " + piece)
			}
			if line != "" && of.Width(longer) > width {
				lines = append(lines, line)
				longer = piece
			}
			line = longer
		}
	}
	return append(lines, line)
}

// legend names the series in one line, or as many as it takes.
func (p *picture) legend(series []Series) {
	const sample, gap = 16, 14
	label := style(textSize, ink, false)
	p.rest.Max.Y -= 3
	x, y := p.rest.Min.X, p.rest.Max.Y-textSize
	for i := range series {
		s := &series[i]
		width := sample + 4 + label.Width(s.Name)
		if x > p.rest.Min.X && x+width > p.rest.Max.X {
			x, y = p.rest.Min.X, y-textSize*lineSkip
		}
		p.rest.StrokeLine2(s.stroke(), x, y+textSize*0.35, x+sample, y+textSize*0.35)
		p.rest.FillText(label, vg.Point{X: x + sample + 4, Y: y}, s.Name)
		x += width + gap
	}
	p.rest.Max.Y = y - 7
}

// axes returns a plot without a title, in the colours of the picture.
func axes(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = paper.light
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Width = faint.light, 0.75
		a.Tick.Color, a.Tick.Width, a.Tick.Length = faint.light, 0.75, 3
		a.Tick.Label.Color, a.Label.TextStyle.Color = ink.light, faint.light
		a.Tick.Label.Font, a.Label.TextStyle.Font = style(textSize, ink, false).Font, style(textSize, ink, false).Font
		a.Padding = 2
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	return p
}

// plot draws it below what is there, with room for half of the last label of the axis.
func (p *picture) plot(a *plot.Plot) { a.Draw(draw.Crop(p.rest, 0, -margin, 0, 0)) }

// done returns the picture.
func (p *picture) done() []byte {
	var b bytes.Buffer
	_, _ = p.svg.WriteTo(&b) // to memory
	_, body, _ := strings.Cut(b.String(), "<svg")
	_, body, _ = strings.Cut(body, ">")
	w, h := p.svg.Size()
	body = p.svg.hold(body)
	// The font is one that has the widths of Arial, which most machines have.
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %[1]g %[2]g"
	role="img" aria-label="%[3]s">
<title>%[3]s</title>
<style>
%[4]s</style>%[5]s`, w.Points(), h.Points(), html.EscapeString(p.title), Dark, body)
}

// Inline returns a picture as a part of a page, which has [Dark] in a style sheet of its own.
func Inline(svg []byte) []byte {
	before, rest, ok := bytes.Cut(svg, []byte("<style>"))
	_, after, ended := bytes.Cut(rest, []byte("</style>"))
	if !ok || !ended {
		return svg
	}
	return append(bytes.Clone(before), after...)
}

// number is a value with as many digits as an axis or a label needs.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 999_500_000:
		return trimmed(v/1e9) + "G"
	case a >= 999_500:
		return trimmed(v/1e6) + "M"
	case a >= 999.5:
		return trimmed(v/1e3) + "k"
	}
	return trimmed(v)
}

func trimmed(v float64) string { return fmt.Sprintf("%.3g", v) }
