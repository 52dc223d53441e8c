package chart

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is one of a [Series].
type Point struct{ X, Y float64 }

// Series is a line with a name. Color says which of the colours it has, so that the same
// thing has the same one in all pictures.
type Series struct {
	Name   string
	Color  int
	Points []Point
}

// stroke is what the line is drawn with.
func (s *Series) stroke() draw.LineStyle {
	dashes := [...][]vg.Length{nil, nil, {5, 2}, {1.5, 1.5}, {7, 2, 1.5, 2}, {3, 3}}
	return draw.LineStyle{Color: hue(s.Color).light, Width: 1.75, Dashes: dashes[s.Color%len(dashes)]}
}

// lineHeight is the height of a picture of lines.
const lineHeight = 250

// Percentiles draws latencies over the share of what was not slower, on an axis where each
// further nine has the same room. X of a point is that share, below 1, and Y the latency in
// the unit that the label of the axis names; both axes are logarithmic. Points without a
// place on them are left out.
func Percentiles(title, about, label string, series []Series) []byte {
	p := newPicture(title, about, lineHeight)
	p.legend(series)
	a := axes("share of requests, by nines", label)
	a.X.Min, a.X.Max = 0, 1
	a.X.Tick.Marker = nines{}
	low, high := math.Inf(1), math.Inf(-1)
	scaled := make([]Series, len(series))
	for i, s := range series {
		scaled[i] = Series{Name: s.Name, Color: s.Color}
		for _, at := range s.Points {
			if at.X >= 1 || at.X < 0 || at.Y <= 0 {
				continue
			}
			at.X = -math.Log10(1 - at.X)
			a.X.Max = max(a.X.Max, at.X)
			low, high = min(low, at.Y), max(high, at.Y)
			scaled[i].Points = append(scaled[i].Points, at)
		}
	}
	if low > high {
		low, high = 1, 1
	}
	a.Y.Min, a.Y.Max = low/1.2, high*1.2
	a.Y.Scale, a.Y.Tick.Marker = plot.LogScale{}, decades{}
	draws(a, scaled)
	p.plot(a)
	return p.done()
}

// Over draws values over time. Both axes are linear, and that of the values
// begins at zero.
func Over(title, about, xLabel, yLabel string, series []Series) []byte {
	return over(title, about, xLabel, yLabel, false, series)
}

// Rounds is as [Over], of values that there is one of in each round.
func Rounds(title, about, yLabel string, series []Series) []byte {
	return over(title, about, "round", yLabel, true, series)
}

func over(title, about, xLabel, yLabel string, whole bool, series []Series) []byte {
	p := newPicture(title, about, lineHeight-30)
	p.legend(series)
	a := axes(xLabel, yLabel)
	low, high, top := math.Inf(1), math.Inf(-1), 0.0
	for _, s := range series {
		for _, at := range s.Points {
			low, high, top = min(low, at.X), max(high, at.X), max(top, at.Y)
		}
	}
	if low > high {
		low, high = 0, 1
	}
	a.X.Min, a.X.Max, a.Y.Min, a.Y.Max = low, max(high, low+1e-9), 0, 1.05*top
	if top == 0 {
		a.Y.Max = 1
	}
	a.X.Tick.Marker, a.Y.Tick.Marker = linear{whole: whole}, linear{}
	draws(a, series)
	p.plot(a)
	return p.done()
}

// draws puts a grid and the series on the axes.
func draws(a *plot.Plot, series []Series) {
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: rule.light, Width: 0.75}
	grid.Vertical = grid.Horizontal
	a.Add(grid)
	for i := range series {
		s := &series[i]
		xys := make(plotter.XYs, len(s.Points))
		for j, at := range s.Points {
			xys[j] = plotter.XY{X: at.X, Y: at.Y}
		}
		// Not by its constructor, which refuses a line without points, nor by Add, which
		// would widen the axes.
		a.Add(unranged{&plotter.Line{XYs: xys, LineStyle: s.stroke()}})
	}
}

// unranged is something that does not widen the axes.
type unranged struct{ of plot.Plotter }

func (u unranged) Plot(c draw.Canvas, p *plot.Plot) { u.of.Plot(c, p) }

// nines are the ticks of the axis of shares.
type nines struct{}

func (nines) Ticks(_, most float64) []plot.Tick {
	all := []plot.Tick{{Value: 0, Label: "0"}, {Value: math.Log10(2), Label: "50%"}}
	for i, label := range []string{"90%", "99%", "99.9%", "99.99%", "5 nines", "6 nines", "7 nines", "8 nines"} {
		all = append(all, plot.Tick{Value: float64(i + 1), Label: label})
	}
	all = slices.DeleteFunc(all, func(t plot.Tick) bool { return t.Value > most })
	if most > 5 { // there is no room for all
		all = slices.DeleteFunc(all, func(t plot.Tick) bool { return t.Label == "50%" })
	}
	return all
}

// decades are the ticks of a logarithmic axis: 1, 2 and 5 of each power of ten, or fewer if
// they are many.
type decades struct{}

func (decades) Ticks(low, high float64) (all []plot.Tick) {
	marks := []float64{1, 2, 5}
	switch span := math.Log10(high / low); {
	case span > 4:
		marks = marks[:1]
	case span > 2.2:
		marks = []float64{1, 3}
	}
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, m := range marks {
			if v := m * power; v >= low && v <= high {
				all = append(all, plot.Tick{Value: v, Label: number(v)})
			}
		}
	}
	if len(all) < 2 { // within less than a factor of two
		return linear{}.Ticks(low, high)
	}
	return all
}

// linear are the ticks of a linear axis, about five at round values.
type linear struct {
	whole bool // of things that are counted
}

func (l linear) Ticks(low, high float64) (all []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(m*step) <= 5.5 {
			step *= m
			break
		}
	}
	if l.whole {
		step = max(step, 1)
	}
	for i := math.Ceil(low/step - 1e-9); i*step <= high*(1+1e-9); i++ {
		v := i*step + 0 // no negative zero
		all = append(all, plot.Tick{Value: v, Label: number(v)})
	}
	return all
}
