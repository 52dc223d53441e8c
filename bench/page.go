package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/bench/internal/chart"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// page is what the template shows.
type page struct {
	Dark        template.CSS
	Title       string
	Began       string
	Command     string
	Verdict     []string
	Notes       []string // that belong beside the verdict: warnings and failures
	Highlights  []template.HTML
	Sections    []section
	Environment [][2]string
	Schema      string
}

// section is a part of the page, with a table and the pictures of it.
type section struct {
	ID, Title string
	Texts     []string
	Table     *pageTable
	Groups    []pageGroup
}

// pageGroup is pictures that belong together.
type pageGroup struct {
	Title  string
	Charts []template.HTML
}

// pageTable is a table: the first column has names, the others numbers.
type pageTable struct {
	Header []string
	Rows   []pageRow
}

// pageRow is a line of a table; one of a block has no values.
type pageRow struct {
	Name   string
	Block  bool
	Values []pageValue
}

// pageValue is a value and the column that it is in, which narrow screens show beside it.
type pageValue struct{ Column, Text string }

// newTable makes one of the rows that are printed.
func newTable(header []string, rows [][]string) *pageTable {
	t := &pageTable{}
	for i, h := range header {
		// A column without a second line stands below the one to its left.
		above, below, ok := strings.Cut(h, "\n")
		if ok && above == "" && i > 0 {
			above = strings.Fields(t.Header[i-1])[0]
		}
		t.Header = append(t.Header, strings.TrimSpace(above+" "+below))
	}
	for _, row := range rows {
		line := pageRow{Name: strings.TrimSpace(row[0]), Block: len(row) == 1}
		for i, v := range row[1:] {
			// No line breaks within an interval.
			v = strings.ReplaceAll(v, "–", "\u2060–\u2060")
			line.Values = append(line.Values, pageValue{t.Header[i+1], v})
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// gallery collects pictures for a page and for files.
type gallery struct{ all []figure }

func (g *gallery) group(title string, figures []figure) []pageGroup {
	if len(figures) == 0 {
		return nil
	}
	g.add(figures)
	return []pageGroup{{title, inline(figures)}}
}

// add makes names different that are alike once they are those of files.
func (g *gallery) add(figures []figure) {
	for _, f := range figures {
		taken := func(name string) bool {
			return slices.ContainsFunc(g.all, func(other figure) bool { return other.name == name })
		}
		name := f.name
		for n := 2; taken(f.name); n++ {
			f.name = fmt.Sprintf("%s-%d", name, n)
		}
		g.all = append(g.all, f)
	}
}

func inline(figures []figure) (all []template.HTML) {
	for _, f := range figures {
		all = append(all, template.HTML(chart.Inline(f.svg))) // which package chart has escaped
	}
	return all
}

// page returns the report as a page that needs nothing else, and the pictures that are
// in it.
func (r *report) page() ([]byte, []figure, error) {
	var g gallery
	p := page{
		Dark:  template.CSS(chart.Dark),
		Title: "gridmux bench", Began: r.Began.Format("2 January 2006, 15:04 MST"),
		Command: r.Command, Verdict: r.Verdict, Environment: r.Machine.facts(), Schema: r.Schema,
	}
	for _, f := range r.Failures {
		p.Notes = append(p.Notes, fmt.Sprintf("Failed: %s, %s: %s", f.Transport, f.Doing, f.Error))
	}
	p.Notes = append(p.Notes, nonEmpty(r.aboutLeftOut())...)
	if len(r.Cells) > 0 {
		p.Notes = append(p.Notes, nonEmpty(r.warning())...)
		for i, t := range r.tables() {
			p.Sections = append(p.Sections, r.section(i == 0, t, &g))
		}
	}
	if r.Paced != nil && len(r.Paced.Results) > 0 {
		result := &r.Paced.Results[0]
		p.Sections = append(p.Sections, section{
			ID: "paced", Title: fmt.Sprintf("%s calls a second", count(float64(r.Paced.Rate))),
			Texts: nonEmpty(unwrapped(r.Paced.pacedHeader(result.Title, result.elapsed())), r.Paced.verdict(result), r.Paced.legend()),
			Table: newTable(r.Paced.rows(result)), Groups: g.group("", r.Paced.figures(result)),
		})
	}
	if r.Clusters != nil && len(r.Clusters.Lines) > 0 {
		p.Sections = append(p.Sections, section{
			ID: "clusters", Title: fmt.Sprintf("Clusters of %d nodes", r.Clusters.Nodes),
			Texts: []string{unwrapped(r.Clusters.header(r.Clusters.Rounds)), r.Clusters.reading()},
			Table: newTable(r.Clusters.rows()), Groups: g.group("", r.Clusters.figures()),
		})
	}
	if r.Links != nil {
		maps := r.Links.mapFigures()
		g.add(maps)
		p.Highlights = inline(maps) // the answer in one look, so at the top
		p.Sections = append(p.Sections, r.Links.sections(&g)...)
	}
	if r.Compression != nil && len(r.Compression.Results) > 0 {
		p.Sections = append(p.Sections, r.Compression.sections(&g)...)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, &p); err != nil {
		return nil, nil, fmt.Errorf("the page: %w", err)
	}
	return b.Bytes(), g.all, nil
}

// title is what the page calls it.
func (t table) title() string {
	switch t {
	case calls:
		return "Calls"
	case streams:
		return "Streams"
	case fanout:
		return "Calls to many at once"
	default:
		return "Small calls beside bulk"
	}
}

// section is one of the tables on this machine.
func (r *report) section(first bool, t table, g *gallery) section {
	s := section{ID: t.String(), Title: t.title()}
	for _, load := range r.Loads {
		if about, ok := strings.CutPrefix(load, t.heading()); ok {
			s.Texts = append(s.Texts, strings.ToUpper(about[:1])+about[1:])
		}
	}
	if first {
		s.Texts = append(s.Texts, nonEmpty(r.done(), r.aboutPath())...)
	}
	s.Texts = append(s.Texts, r.reading(t))
	s.Table = newTable(r.rows(t))
	s.Groups = append(s.Groups, g.group("How many", r.rateFigures(t))...)
	s.Groups = append(s.Groups, g.group("How long", r.latencyFigures(t))...)
	s.Groups = append(s.Groups, g.group("Over time", r.roundFigures(t))...)
	s.Texts = append(s.Texts, r.legend())
	return s
}

// sections are those about links: what they have in common, and each.
func (r *linkReport) sections(g *gallery) (all []section) {
	s := section{ID: "links", Title: "Over emulated links"}
	if r.LeftOut != "" {
		s.Texts = []string{"Emulated links are left out: " + r.LeftOut + "."}
		return []section{s}
	}
	if len(r.Results) == 0 {
		return nil
	}
	s.Texts = nonEmpty(unwrapped(r.header(len(r.Results))), r.reading(), r.legend(), r.warning())
	all = append(all, s)
	for i := range r.Results {
		result := &r.Results[i]
		all = append(all, section{
			ID: fmt.Sprintf("link-%d", i+1), Title: "Over " + result.heading(), Texts: nonEmpty(r.verdict(result)),
			Table: newTable(r.rows(result)), Groups: g.group("", r.figures(result)),
		})
	}
	return all
}

// sections are those about compression.
func (r *compressionReport) sections(g *gallery) []section {
	all := []section{
		{
			ID: "compression", Title: "Compression",
			Texts: nonEmpty(unwrapped(r.header(r.Rounds)),
				"What is left of each message, and below which speed of a link, in Mbit/s, there are "+
					"more calls than without.", r.reading(), r.legend(), r.warning()),
			Table: newTable(r.leftRows()), Groups: g.group("What a call takes", r.figures()),
		},
		{
			ID: "codecs", Title: "The fastest codec over a link of a speed",
			Texts: []string{"How many times as many calls as without."}, Table: newTable(r.choiceRows()),
		},
	}
	if len(r.Links) > 0 {
		all = append(all, section{
			ID: "codecs-measured", Title: "Compression, measured over emulated links",
			Texts: nonEmpty(fmt.Sprintf("Messages of %s of %s.", octets(r.Links[0].Size), r.Links[0].Payload), r.lateWarning()),
			Table: newTable(r.measuredRows()),
		})
	}
	return all
}

// unwrapped undoes the breaks of what was wrapped for a terminal.
func unwrapped(s string) string { return strings.Join(strings.Fields(s), " ") }

func nonEmpty(texts ...string) (some []string) {
	for _, t := range texts {
		if t != "" {
			some = append(some, t)
		}
	}
	return some
}

// facts are what is known of the machine, in the order and by the names that they have in
// JSON.
func (m machine) facts() (all [][2]string) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	_, _ = dec.Token() // the brace; what was marshalled just now has no error
	return leaves(dec, "")
}

// leaves returns the values of an object whose brace was read, with their names. What is
// in an object below has the name of that in front, but for one at the top.
func leaves(dec *json.Decoder, in string) (all [][2]string) {
	for dec.More() {
		key, _ := dec.Token()
		name := strings.ReplaceAll(fmt.Sprint(key), "_", " ")
		switch value, _ := dec.Token(); value {
		case json.Delim('{'):
			below := name + " "
			if name == "environment" {
				below = ""
			}
			all = append(all, leaves(dec, below)...)
		case json.Delim('['):
			var list []string
			for dec.More() {
				v, _ := dec.Token()
				list = append(list, fmt.Sprint(v))
			}
			_, _ = dec.Token()
			all = append(all, [2]string{in + name, strings.Join(list, ", ")})
		default:
			all = append(all, [2]string{in + name, fmt.Sprint(value)})
		}
	}
	_, _ = dec.Token()
	return all
}

// finish notes what only the end of a run tells.
func (r *report) finish(interrupted bool) {
	r.Interrupted = interrupted
	r.Verdict = r.verdict()
}

// begin notes when and how a run began.
func (r *report) begin(args []string, now time.Time) {
	r.Command, r.Began = commandLine(withoutSecret(args)), now.Truncate(time.Second)
}

// withoutSecret returns arguments in which a word stands for the value of -key: a report is
// shown to others.
func withoutSecret(args []string) []string {
	const instead = "SECRET"
	args = slices.Clone(args)
	for i, arg := range args {
		switch name := strings.TrimLeft(arg, "-"); {
		case name == arg: // no flag
		case name == "key" && i+1 < len(args):
			args[i+1] = instead
		case strings.HasPrefix(name, "key="):
			args[i] = "-key=" + instead
		}
	}
	return args
}

// commandLine is what to type into a shell for the same run.
func commandLine(args []string) string {
	var line strings.Builder
	line.WriteString("go run ./bench")
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$`*?[](){}<>|&;!#~") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		line.WriteString(" " + arg)
	}
	return line.String()
}
