package chart

import (
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bar is a value with the interval that it is known to lie in; without one, Low and High
// are the value.
type Bar struct {
	Name             string
	Color            int
	Value, Low, High float64
	Note             string // behind the value; may be empty
}

const (
	barRow = 24
	rowGap = 5
)

// Bars draws bars that begin at zero, below one another, each with its name in front and
// its value behind.
func Bars(title, about string, bars []Bar) []byte {
	names, values := style(textSize, ink, false), style(textSize, ink, true)
	left, right, most := vg.Length(0), vg.Length(0), 0.0
	for _, b := range bars {
		left = max(left, names.Width(b.Name))
		right = max(right, values.Width(number(b.Value))+names.Width(b.Note))
		most = max(most, b.Value, b.High)
	}
	rows := float64(len(bars)) * barRow
	head := heading(title, about)
	p := newPicture(title, about, 2*margin+head+rows+rowGap)
	from := p.rest.Min.X + left + 8
	to := max(from+40, p.rest.Max.X-right-14)
	at := func(v float64) vg.Length {
		if most <= 0 {
			return from
		}
		return from + (to-from)*vg.Length(min(v, most)/most)
	}
	y := p.rest.Max.Y - rowGap
	for _, b := range bars {
		bottom, top := y-barRow+rowGap, y
		middle := (bottom + top) / 2
		base := middle - textSize*0.35
		p.rest.FillText(names, vg.Point{X: p.rest.Min.X, Y: base}, b.Name)
		p.rest.FillPolygon(hue(b.Color).light, corners(vg.Rectangle{
			Min: vg.Point{X: from, Y: bottom}, Max: vg.Point{X: max(at(b.Value), from+0.5), Y: top},
		}))
		if b.Low < b.High {
			whisker(&p.rest, at(b.Low), at(b.High), middle)
		}
		x := max(at(b.Value), at(b.High)) + 6
		p.rest.FillText(values, vg.Point{X: x, Y: base}, number(b.Value))
		if b.Note != "" {
			x += values.Width(number(b.Value)) + 6
			p.rest.FillText(style(textSize, faint, false), vg.Point{X: x, Y: base}, b.Note)
		}
		y -= barRow
	}
	return p.done()
}

// whisker draws an interval. It has a line of paper around it, or it would not be seen on
// the bar.
func whisker(c *draw.Canvas, low, high, y vg.Length) {
	for _, line := range []draw.LineStyle{{Color: paper.light, Width: 3.5}, {Color: ink.light, Width: 1.25}} {
		c.StrokeLine2(line, low, y, high, y)
		for _, x := range []vg.Length{low, high} {
			c.StrokeLine2(line, x, y-4, x, y+4)
		}
	}
}

// heading is how high the lines above a picture are.
func heading(title, about string) float64 {
	width := vg.Length(Width - 2*margin)
	h := float64(len(fit(title, style(titleSize, ink, true), width))) * titleSize * lineSkip
	if about != "" {
		h += float64(len(fit(about, style(textSize, faint, false), width))) * textSize * lineSkip
	}
	return h
}

// Tile is a place of a [Map].
type Tile struct {
	// Text is what it says, in lines from the top, the first in bold; none leaves it empty.
	Text []string
	// Color is that of the winner, -1 if there is none; Strength, from 1 to 3, says how
	// clearly it won.
	Color, Strength int
}

const (
	tileRow  = 46
	tileGap  = 3
	axisRoom = 18
)

// Map draws tiles in rows and columns, which have names and a word each for what they are.
func Map(title, about, rowsAre, columnsAre string, rows, columns []string, tiles [][]Tile) []byte {
	p := newPicture(title, about, 2*margin+heading(title, about)+2*axisRoom+float64(len(rows))*tileRow)
	labels, whats := style(textSize, ink, false), style(textSize, faint, false)
	left := whats.Width(rowsAre)
	for _, r := range rows {
		left = max(left, labels.Width(r))
	}
	from := p.rest.Min.X + left + 8
	wide := (p.rest.Max.X - from) / vg.Length(max(len(columns), 1))
	top := p.rest.Max.Y - 2*axisRoom
	size := tileText(columns, tiles, wide-tileGap-2)
	p.rest.FillText(whats, vg.Point{X: from, Y: p.rest.Max.Y - textSize - 2}, columnsAre)
	p.rest.FillText(whats, vg.Point{X: p.rest.Min.X, Y: top + 5}, rowsAre)
	for j, name := range columns {
		centred(&p.rest, style(size, ink, false), from+wide*(vg.Length(j)+0.5), top+5, name)
	}
	for i, name := range rows {
		upper := top - vg.Length(i)*tileRow
		middle := upper - tileRow/2
		p.rest.FillText(labels, vg.Point{X: p.rest.Min.X, Y: middle - textSize*0.35}, name)
		for j := range columns {
			t := &tiles[i][j]
			box := vg.Rectangle{
				Min: vg.Point{X: from + wide*vg.Length(j) + tileGap/2, Y: upper - tileRow + tileGap},
				Max: vg.Point{X: from + wide*vg.Length(j+1) - tileGap/2, Y: upper},
			}
			p.tile(t, box, size)
		}
	}
	return p.done()
}

// tileText is how large the texts of a map are, all alike: smaller than others where there are so many columns that
// they would run into each other.
func tileText(columns []string, tiles [][]Tile, width vg.Length) float64 {
	plain, bold, widest := style(textSize, ink, false), style(textSize, ink, true), vg.Length(0)
	for _, name := range columns {
		widest = max(widest, plain.Width(name))
	}
	for _, row := range tiles {
		for _, t := range row {
			for _, line := range t.Text {
				widest = max(widest, bold.Width(line))
			}
		}
	}
	if widest <= width {
		return textSize
	}
	return textSize * float64(max(width, 1)/widest)
}

func (p *picture) tile(t *Tile, box vg.Rectangle, size float64) {
	fill := rule.light
	if t.Color >= 0 {
		fill = tint(t.Color, t.Strength).light
	}
	if len(t.Text) > 0 {
		p.rest.FillPolygon(fill, corners(box))
	} else {
		p.rest.StrokeLines(draw.LineStyle{Color: rule.light, Width: 0.75}, append(corners(box), box.Min))
	}
	x, middle := (box.Min.X+box.Max.X)/2, (box.Min.Y+box.Max.Y)/2
	step := vg.Length(size * lineSkip)
	y := middle + step*vg.Length(len(t.Text)-1)/2 - vg.Length(size)*0.35
	for i, line := range t.Text {
		centred(&p.rest, style(size, ink, i == 0), x, y, line)
		y -= step
	}
}

func centred(c *draw.Canvas, of text.Style, x, y vg.Length, s string) {
	c.FillText(of, vg.Point{X: x - of.Width(s)/2, Y: y}, s)
}
