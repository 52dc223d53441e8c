package chart

import (
	"fmt"
	"image/color"
	"strings"
)

// shade is a colour on a light page and the one in its place on a dark one.
type shade struct{ light, dark color.NRGBA }

// Text has a contrast of 7 : 1 and more with the paper, lines and bars one of 4 : 1.
var (
	paper = shade{rgb(0xffffff), rgb(0x0d1117)}
	ink   = shade{rgb(0x1b1f24), rgb(0xe6edf3)}
	faint = shade{rgb(0x57606a), rgb(0x9aa4af)}
	rule  = shade{rgb(0xd8dee4), rgb(0x2b323b)}

	// hues are told apart by people who do not see red from green too, and series have
	// dashes and names besides.
	hues = [...]shade{
		{rgb(0x6e40c9), rgb(0xb392f0)}, // purple
		{rgb(0x0969da), rgb(0x58a6ff)}, // blue
		{rgb(0x0f766e), rgb(0x2dd4bf)}, // teal
		{rgb(0xc2410c), rgb(0xfb923c)}, // orange
		{rgb(0xa21c63), rgb(0xf472b6)}, // magenta
		{rgb(0x6b5d00), rgb(0xd4b72f)}, // olive
	}
)

// tints is how many strengths a tint has.
const tints = 3

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff} // the lowest byte each
}

// hue is the colour of a series. There are as many as there are hues; then they repeat.
func hue(series int) shade { return hues[series%len(hues)] }

// tint is a colour to write on, from 1, weak, to [tints].
func tint(series, strength int) shade {
	share := 0.14 * float64(min(max(strength, 1), tints))
	of := hue(series)
	return shade{mix(paper.light, of.light, share), mix(paper.dark, of.dark, share)}
}

// mix returns a colour between two.
func mix(from, to color.NRGBA, share float64) color.NRGBA {
	between := func(a, b uint8) uint8 { return uint8(float64(a) + share*(float64(b)-float64(a)) + 0.5) }
	return color.NRGBA{R: between(from.R, to.R), G: between(from.G, to.G), B: between(from.B, to.B), A: 0xff}
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// Dark is the style sheet that makes pictures dark where that is preferred. Each has it
// inside, and a page that has many of them may as well have it once.
var Dark = darkRules()

func darkRules() string {
	all := []shade{paper, ink, faint, rule}
	for i := range hues {
		all = append(all, hue(i))
		for strength := 1; strength <= tints; strength++ {
			all = append(all, tint(i, strength))
		}
	}
	var b strings.Builder
	b.WriteString("@media (prefers-color-scheme: dark) {\n")
	for _, s := range all {
		for _, property := range []string{"fill", "stroke"} {
			fmt.Fprintf(&b, "svg [style*=\"%s:%s\"] { %s: %s !important }\n", property, hex(s.light), property, hex(s.dark))
		}
	}
	b.WriteString("}\n")
	return b.String()
}
