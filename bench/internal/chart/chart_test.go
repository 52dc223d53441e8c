package chart

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// pictures are some of each sort, ordinary ones and those of little or nothing.
func pictures() map[string][]byte {
	var curves, over []Series
	for i, name := range []string{"inmem", "websocket", "wss", "quic", "a name that is rather long", "another"} {
		c := Series{Name: name, Color: i}
		for q := 0.0; q < 5.2; q += 0.1 {
			c.Points = append(c.Points, Point{1 - math.Pow(10, -q), float64(20*(i+1)) * math.Pow(1.8, q)})
		}
		curves = append(curves, c)
		over = append(over, Series{Name: name, Color: i, Points: []Point{{0, 3}, {1, float64(i)}, {2, 4}}})
	}
	empty := []Series{{Name: "nothing", Color: 1}}
	bars := []Bar{{"inmem", 0, 1234567, 1_100_000, 1_300_000, "8.50×"}, {"<quic> & co.", 3, 1200, 1000, 1500, "0.01×"}, {"none", 1, 0, 0, 0, ""}}
	tile := []Tile{{[]string{"quic", "3.0×"}, 3, 3}, {nil, -1, 0}, {[]string{"≈", "1.0×"}, -1, 0}}
	return map[string][]byte{
		"percentiles":     Percentiles("Latency & <more>", "what is below", "µs", curves),
		"percentiles of":  Percentiles("Latency", "", "µs", []Series{{Name: "x", Points: []Point{{0.5, 7}, {1, 9}, {0.7, 0}, {-1, 2}}}}),
		"no percentiles":  Percentiles("Latency", "", "µs", empty),
		"no line":         Percentiles("Latency", "", "µs", nil),
		"over":            Over("Latency", "", "s", "ms", over),
		"over a moment":   Over("Latency", "", "s", "ms", []Series{{Name: "x", Points: []Point{{3, 0}}}}),
		"over nothing":    Over("Latency", "", "s", "ms", empty),
		"rounds":          Rounds("Rates", "", "1000/s", over),
		"bars":            Bars("Calls", "per second", bars),
		"bars of nothing": Bars("Calls", "", bars[2:]),
		"no bars":         Bars("Calls", "", nil),
		"map":             Map("Who wins", "a text that is so long that it does not fit into one line of that width", "rtt", "loss", []string{"1ms", "20ms"}, []string{"0%", "1%", "2%"}, [][]Tile{tile, tile}),
		"no map":          Map("Who wins", "", "rtt", "loss", nil, nil, nil),
	}
}

var (
	lightOf = regexp.MustCompile(`(?:fill|stroke):(#[0-9A-F]{6})`)
	placeOf = regexp.MustCompile(`[ML](-?[0-9.e+]+),(-?[0-9.e+]+)`)
)

// TestPictures expects each to be XML that has the title, to draw nothing outside of itself,
// and to have no colour without one for a dark page.
func TestPictures(t *testing.T) {
	for name, svg := range pictures() {
		t.Run(name, func(t *testing.T) {
			dec := xml.NewDecoder(strings.NewReader(strings.TrimSpace(string(svg))))
			var root struct {
				Width  float64 `xml:"width,attr"`
				Height float64 `xml:"height,attr"`
				Label  string  `xml:"aria-label,attr"`
			}
			if err := dec.Decode(&root); err != nil {
				t.Fatal(err)
			}
			if _, err := dec.Token(); !errors.Is(err, io.EOF) {
				t.Errorf("something behind the picture: %v", err)
			}
			if root.Width != Width || root.Height < 20 || root.Height > 400 || root.Label == "" {
				t.Errorf("%+v", root)
			}
			_, drawn, _ := strings.Cut(string(svg), "</style>")
			for _, c := range lightOf.FindAllStringSubmatch(drawn, -1) {
				if !strings.Contains(Dark, c[1]) {
					t.Errorf("no dark colour for %s", c[1])
				}
			}
			for _, p := range placeOf.FindAllStringSubmatch(drawn, -1) {
				x, errX := strconv.ParseFloat(p[1], 64)
				y, errY := strconv.ParseFloat(p[2], 64)
				if errX != nil || errY != nil || x < -1 || y < -1 || x > root.Width+1 || y > root.Height+1 {
					t.Errorf("%s is outside of %v by %v", p[0], root.Width, root.Height)
				}
			}
			for _, text := range strings.Split(drawn, "<text ")[1:] {
				of := style(textSize, ink, strings.Contains(text, "font-weight:bold"))
				if strings.Contains(text, fmt.Sprintf("font-size:%dpx", titleSize)) {
					of.Font.Size = titleSize
				}
				_, shown, _ := strings.Cut(text, ">")
				shown, _, _ = strings.Cut(shown, "<")
				if width := fmt.Sprintf(`textLength="%.5g"`, of.Width(html.UnescapeString(shown)).Points()); !strings.HasPrefix(text, width) {
					t.Errorf("a text that should have %s: %s", width, text)
				}
			}
			if strings.Contains(drawn, "NaN") || strings.Contains(drawn, "Inf") {
				t.Error("a coordinate that is no number")
			}
			if in := string(Inline(svg)); strings.Contains(in, "<style>") || !strings.HasSuffix(in, drawn) {
				t.Error("inline it has a style sheet of its own, or is another picture")
			}
		})
	}
}

// TestContrast expects texts to be distinct from what they are on by 4.5 to 1, and lines and
// bars by 3 to 1, in both colour schemes.
func TestContrast(t *testing.T) {
	check := func(what string, a, b shade, least float64) {
		for scheme, ratio := range map[string]float64{"light": contrast(hex(a.light), hex(b.light)), "dark": contrast(hex(a.dark), hex(b.dark))} {
			if ratio < least {
				t.Errorf("%s, %s: %.1f, want %.1f", what, scheme, ratio, least)
			}
		}
	}
	check("ink", ink, paper, 7)
	check("ink on what nobody wins", ink, rule, 4.5)
	check("faint", faint, paper, 4.5)
	for i := range hues {
		check("hue", hue(i), paper, 3)
		for strength := range tints {
			check("ink on a tint", ink, tint(i, strength+1), 4.5)
		}
	}
}

func contrast(a, b string) float64 {
	luminance := func(hex string) float64 {
		v, _ := strconv.ParseUint(hex[1:], 16, 32)
		part := func(shift uint) float64 {
			c := float64(v>>shift&0xff) / 255
			if c <= 0.03928 {
				return c / 12.92
			}
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
	}
	x, y := luminance(a)+0.05, luminance(b)+0.05
	return max(x, y) / min(x, y)
}

// TestNines expects each further nine to have the same room on the axis of percentiles.
func TestNines(t *testing.T) {
	svg := string(Percentiles("t", "", "µs", []Series{{Name: "x", Points: []Point{{0, 1}, {0.9, 2}, {0.99, 3}, {0.999, 4}}}}))
	path := regexp.MustCompile(`<path d="(M[^"LZ]*L[^"LZ]*L[^"LZ]*L[^"LZ]*)"`).FindStringSubmatch(svg)
	if path == nil {
		t.Fatalf("no line of four points in %s", svg)
	}
	var xs []float64
	for _, p := range placeOf.FindAllStringSubmatch(path[1], -1) {
		x, _ := strconv.ParseFloat(p[1], 64)
		xs = append(xs, x)
	}
	step := xs[1] - xs[0]
	if len(xs) != 4 || step < 50 || math.Abs(xs[2]-xs[1]-step) > 0.1 || math.Abs(xs[3]-xs[2]-step) > 0.1 {
		t.Errorf("at %v, want equal steps", xs)
	}
}

// TestTicks expects axes to have between two and about seven ticks, at round values.
func TestTicks(t *testing.T) {
	labels := func(of plot.Ticker, low, high float64) (all []string) {
		for _, tick := range of.Ticks(low, high) {
			all = append(all, tick.Label)
		}
		return all
	}
	for _, test := range []struct {
		of        plot.Ticker
		low, high float64
		want      string
	}{
		{linear{}, 0, 1, "0 0.2 0.4 0.6 0.8 1"},
		{linear{}, 0, 8.4, "0 2 4 6 8"},
		{linear{}, 0, 23_000, "0 5k 10k 15k 20k"},
		{linear{}, 1, 3, "1 1.5 2 2.5 3"},
		{linear{whole: true}, 1, 3, "1 2 3"},
		{decades{}, 15, 800, "20 50 100 200 500"},
		{decades{}, 2, 10_000, "3 10 30 100 300 1k 3k 10k"},
		{decades{}, 2, 1_000_000, "10 100 1k 10k 100k 1M"},
		{decades{}, 10.1, 14, "11 12 13 14"},
		{nines{}, 0, 3.2, "0 50% 90% 99% 99.9%"},
		{nines{}, 0, 5.1, "0 90% 99% 99.9% 99.99% 5 nines"},
	} {
		if got := strings.Join(labels(test.of, test.low, test.high), " "); got != test.want {
			t.Errorf("%T from %v to %v: %s, want %s", test.of, test.low, test.high, got, test.want)
		}
	}
	for _, high := range []float64{1e-9, 0.37, 1, 7, 99, 12345, 1e12} {
		if n := len(labels(linear{}, 0, high)); n < 3 || n > 7 {
			t.Errorf("%d ticks up to %v", n, high)
		}
	}
	if slices.Contains(labels(linear{}, math.Copysign(0, -1), 1), "-0") {
		t.Error("a negative zero")
	}
}

var textOf = regexp.MustCompile(`<text textLength="([0-9.]+)" [^>]*>([^<]*)<`)

// widthsOf returns how wide the texts of a picture are.
func widthsOf(t *testing.T, svg []byte) map[string]float64 {
	t.Helper()
	widths := map[string]float64{}
	for _, m := range textOf.FindAllSubmatch(svg, -1) {
		width, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		widths[string(m[2])] = width
	}
	return widths
}

// TestLongTitle expects a title without spaces, as the settings of a link are, to be broken and not cut.
func TestLongTitle(t *testing.T) {
	const settings = "rtt=40ms,jitter=5ms,rate=100mbit,loss=0.5%,mtu=1400,reorder=1%,duplicate=1%,corrupt=0.01%"
	for text, width := range widthsOf(t, Bars("Over "+settings, "x "+settings, nil)) {
		if width > Width-2*margin {
			t.Errorf("%q is %v wide", text, width)
		}
	}
	if got := strings.Join(fit(settings, style(titleSize, ink, true), 200), ""); got != settings {
		t.Errorf("of %s there is %s", settings, got)
	}
}

// TestWideMap expects the texts of a map with many columns not to run into each other.
func TestWideMap(t *testing.T) {
	var columns []string
	for i := range 9 {
		columns = append(columns, fmt.Sprintf("0.0%d%%", i+1))
	}
	tile := make([]Tile, len(columns))
	for i := range tile {
		tile[i] = Tile{[]string{"websocket", "3.0×"}, 1, 3}
	}
	for text, width := range widthsOf(t, Map("Who wins", "", "", "", []string{""}, columns, [][]Tile{tile})) {
		if slices.Contains(append(columns, "websocket", "3.0×"), text) && width > (Width-2*margin-8)/float64(len(columns))-tileGap {
			t.Errorf("%q is %v wide", text, width)
		}
	}
}
