package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// local makes up a report of calls and streams, in which each transport does so many times
// as much as the one before it.
func local(t *testing.T, factor float64, transports ...string) *report {
	t.Helper()
	m := measured(t, transports, []int{1, 8}, calls, streams)
	rep := &report{Schema: schema, Rounds: 3, Machine: machine{CPU: "made up", Cores: 2, GOMAXPROCS: 2}}
	f := 1.0
	for _, p := range m.pairs {
		for i := range p.cells {
			for j := range p.cells[i] {
				p.cells[i][j].Count = int64(f * float64(100_000+1000*j))
			}
		}
		f *= factor
	}
	rep.describe(m)
	rep.fill(m)
	return rep
}

// overGrid adds links to a report: over those with a loss the second transport is faster
// by a factor, over the others they are alike.
func overGrid(rep *report, factor float64) *report {
	r := newLinkReport(linkOptions{paced: paced{rate: 500, size: 512, streams: 4, bits: 1e6, duration: 3 * time.Second}, seed: 1},
		[]kind{{name: "wss"}, {name: "quic"}})
	for _, rtt := range []time.Duration{2 * time.Millisecond, 20 * time.Millisecond} {
		for _, loss := range []float64{0, 0.005, 0.02} {
			title := fmt.Sprintf("rtt=%v,loss=%s", rtt, link.FormatShare(loss))
			result := linkResult{Title: title, Conditions: title, RTT: rtt, Loss: loss, Grid: true}
			slow := 4 * rtt
			for _, name := range r.Transports {
				p99 := slow
				if name == "quic" && loss > 0 {
					p99 = time.Duration(float64(slow) / factor)
				}
				h := hdrhistogram.New(int64(shortestLinkLatency), int64(longestLatency), linkLatencyDigits)
				when := &timeline{length: r.Duration}
				l := linkLine{Transport: name}
				paced := pacedResult{when: when, elapsed: r.Duration}
				for i := range paced.latency {
					paced.latency[i] = newLinkHistogram()
					for j := range 300 {
						latency := rtt
						if j > 290 {
							latency = p99
						}
						_ = paced.latency[i].RecordValue(int64(latency))
						_ = h.RecordValue(int64(latency))
						when.call(time.Duration(300*i+j)*r.Duration/(300*parts), latency)
						when.sent(time.Duration(300*i+j)*r.Duration/(300*parts), 1000)
					}
				}
				l.fill(paced)
				result.Lines = append(result.Lines, l)
			}
			r.Planned++
			r.add(result)
		}
	}
	rep.Links = r
	return rep
}

// TestVerdict expects plain sentences that say no more than what was measured.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		name string
		rep  func() *report
		want string
	}{
		{"nothing", func() *report { return &report{} }, ""},
		{"alike", func() *report { return local(t, 1, "inmem", "websocket", "wss") }, `
Without distance and loss, as on this machine: no difference between websocket and wss, so choose by what else they offer.`},
		{"order", func() *report { return local(t, 0.5, "inmem", "websocket", "wss", "quic") }, `
Without distance and loss, as on this machine: websocket, or of those with TLS wss; wss does 0.50 times as much, quic does 0.25 times as much.`},
		{"memory alone", func() *report { return local(t, 1, "inmem") }, ""},
		{"quic alone", func() *report { return local(t, 1, "quic") }, `
Without distance and loss, as on this machine: only quic was measured, so there is nothing to choose from.`},
		{"no reference", func() *report { return local(t, 0.5, "wss", "quic") }, `
Without distance and loss, as on this machine: wss; quic does 0.50 times as much.`},
		{"one failed", func() *report {
			rep := local(t, 0.5, "websocket", "wss")
			rep.fail("quic", "connecting two nodes", errors.New("no"))
			return rep
		}, `
Without distance and loss, as on this machine: websocket, or of those with TLS wss; wss does 0.50 times as much.
What failed has no part in this: quic, connecting two nodes.`},
		{"one link of a transport failed", func() *report {
			rep := overGrid(&report{}, 2.5)
			rep.fail("quic", "measuring over rtt=50ms", errors.New("no"))
			rep.fail("quic", "measuring over rtt=50ms", errors.New("no"))
			rep.fail("compression", "measuring", errors.New("no"))
			return rep
		}, `
Over round trips of 2ms to 20ms, without loss: no clear difference; from 0.5% to 2% loss: quic, by 2.50× at p99.
What failed has no part in this: quic, measuring over rtt=50ms; compression, measuring.`},
		{"noisy", func() *report {
			rep := local(t, 0.5, "websocket", "quic")
			rep.Cells[0].Spread = 2
			return rep
		}, `
Without distance and loss, as on this machine: websocket, or of those with TLS quic; quic does 0.50 times as much.
Windows of the same measurement differ much: measure again, for longer, before you build on that.`},
		{"interrupted", func() *report {
			rep := local(t, 1, "wss")
			rep.Interrupted = true
			return rep
		}, `
Without distance and loss, as on this machine: only wss was measured, so there is nothing to choose from.
The run was interrupted; this is about what was complete.`},
		{"links", func() *report { return overGrid(&report{}, 2.5) }, `
Over round trips of 2ms to 20ms, without loss: no clear difference; from 0.5% to 2% loss: quic, by 2.50× at p99.`},
		{"links alike", func() *report { return overGrid(&report{}, 1) }, `
Over round trips of 2ms to 20ms, from 0% to 2% loss: no clear difference.`},
		{"links, too short", func() *report {
			rep := overGrid(&report{}, 1)
			for i := range rep.Links.Results {
				quic := &rep.Links.Results[i].Lines[1]
				for j, h := range quic.Parts { // by chance
					_ = h.RecordValues(int64(quic.P99*time.Duration(5*(j%3))), 100*int64(j%3))
				}
			}
			return rep
		}, `
Over round trips of 2ms to 20ms, from 0% to 2% loss: no clear difference.
Over some of these links 3s each was too short to tell whether there is a difference: -link-time measures for longer.`},
		{"links at one round trip", func() *report {
			rep := overGrid(&report{}, 2)
			rep.Links.Results = rep.Links.Results[:2]
			return rep
		}, `
Over a round trip of 2ms, without loss: no clear difference; with 0.5% loss: quic, by 2.00× at p99.`},
		{"links by round trip", func() *report {
			rep := overGrid(&report{}, 2)
			better := &rep.Links.Results[4]
			better.Lines[0], better.Lines[1] = better.Lines[1], better.Lines[0]
			better.Lines[0].Transport, better.Lines[1].Transport = "wss", "quic"
			return rep
		}, `
Over round trips of 2ms to 20ms, without loss: no clear difference; with 0.5% loss: at 2ms quic, by 2.00× at p99, at 20ms wss, by 2.00× at p99; with 2% loss: quic, by 2.00× at p99.`},
		{"links, the round trip decides", func() *report {
			rep := overGrid(&report{}, 2)
			for i := range rep.Links.Results[:3] { // as without loss
				rep.Links.Results[i].Lines = rep.Links.Results[0].Lines
			}
			rep.Links.Results[3].Lines = rep.Links.Results[4].Lines
			return rep
		}, `
Over emulated links with a loss of 0% to 2%, over a round trip of 2ms: no clear difference; over a round trip of 20ms: quic, by 2.00× at p99.`},
		{"links left out", func() *report {
			rep := local(t, 1, "quic")
			rep.Links = &linkReport{Transports: []string{"quic"}, LeftOut: "no permission"}
			return rep
		}, `
Without distance and loss, as on this machine: only quic was measured, so there is nothing to choose from.
Emulated links were left out, so nothing is said about distance and loss.`},
		{"compression", func() *report { return &report{Compression: madeUpCompression()} }, `
Compression pays for json of 128 B below 365 Mbit/s (s2+dict), and never for random.`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(test.rep().verdict(), "\n"); got != strings.TrimSpace(test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, strings.TrimSpace(test.want))
			}
		})
	}
}

// TestTooFewRounds expects nothing to be said of which transport is faster after one or two rounds,
// be they fivefold apart or alike, and no ratio to be marked as no difference.
func TestTooFewRounds(t *testing.T) {
	for _, rounds := range []int{1, 2} {
		for _, factor := range []float64{0.2, 1} {
			rep := local(t, factor, "websocket", "quic")
			rep.Rounds, rep.Interrupted = rounds, true
			for i := range rep.Cells {
				rep.Cells[i].Windows, rep.Cells[i].Within = rep.Cells[i].Windows[:rounds], interval{}
				if got := rep.Cells[i].ratio(); strings.Contains(got, undecided) {
					t.Errorf("%d rounds have the ratio %q", rounds, got)
				}
			}
			got := strings.Join(rep.verdict(), "\n")
			if want := "Without distance and loss, as on this machine: too few rounds are complete to compare websocket and quic.\n" +
				"The run was interrupted; this is about what was complete."; got != want {
				t.Errorf("%d rounds, %g times:\n%s\nwant\n%s", rounds, factor, got, want)
			}
		}
	}
}

// noisyWindows makes the rates of the second transport vary around those of the first: half as much
// and twice as much.
func noisyWindows(rep *report) *report {
	for i := range rep.Cells {
		c := &rep.Cells[i]
		if c.Transport != "quic" {
			continue
		}
		for j := range c.Windows {
			c.Windows[j].Count = c.Windows[j].Count * []int64{2, 4, 8}[j%3] / 4
		}
		c.Spread = spread(each(c.Windows, (*sample).PerSecond))
	}
	return rep
}

// TestNoiseIsNoEquality expects windows that differ much to be said unable to tell transports apart,
// with the warning, and not to be sold as no difference.
func TestNoiseIsNoEquality(t *testing.T) {
	got := strings.Join(noisyWindows(local(t, 1, "websocket", "quic")).verdict(), "\n")
	if want := "Without distance and loss, as on this machine: these windows cannot tell websocket and quic apart, " +
		"which may differ by more than 1.25×: measure for longer.\n" +
		"Windows of the same measurement differ much: measure again, for longer, before you build on that."; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	rep := local(t, 1, "websocket", "quic")
	rep.Cells[0].Spread = 2 * noisy
	got = strings.Join(rep.verdict(), "\n")
	if !strings.Contains(got, "no difference") || !strings.Contains(got, "measure again") {
		t.Errorf("got\n%s\nwant no difference, with the warning", got)
	}
}

// TestNoiseOfTheEncrypted expects a transport with TLS that windows cannot tell from the best not to be both named as
// the one to choose and said not to be told from it.
func TestNoiseOfTheEncrypted(t *testing.T) {
	rep := local(t, 1, "websocket", "wss", "quic")
	for i := range rep.Cells {
		c := &rep.Cells[i]
		for j := range c.Windows {
			switch c.Transport {
			case "wss":
				c.Windows[j].Count = c.Windows[j].Count * []int64{2, 4, 8}[j%3] / 4
			case "quic":
				c.Windows[j].Count /= 4
			}
		}
	}
	got := strings.Join(rep.verdict(), "\n")
	if !strings.Contains(got, ": websocket, from which these windows cannot tell wss; quic does ") {
		t.Errorf("got\n%s", got)
	}
}

// TestDifferenceInFew expects a verdict about many loads to say in how many of them there is a difference,
// for that in one may be chance.
func TestDifferenceInFew(t *testing.T) {
	rep := local(t, 1, "websocket", "quic")
	first := &rep.of(calls, "quic")[0]
	for i := range first.Windows {
		first.Windows[i].Count /= 2
	}
	blocks := len(rep.of(calls, "quic")) + len(rep.of(streams, "quic"))
	want := fmt.Sprintf("quic does 0.50 to 1.00 times as much (a difference in 1 of %d loads).", blocks)
	if got := strings.Join(rep.verdict(), "\n"); !strings.HasSuffix(got, want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestMemoryIsNoRival expects calls at a set rate, measured alone, not to recommend the transport that
// leaves no process.
func TestMemoryIsNoRival(t *testing.T) {
	links := overGrid(&report{}, 3).Links
	result := links.Results[len(links.Results)-1]
	result.Title = "the loopback interface"
	fast := result.Lines[1]
	fast.Transport = "inmem"
	fast.P99 /= 10
	for i := range fast.Parts {
		h := newLinkHistogram()
		_ = h.RecordValues(int64(fast.P99), 100)
		fast.Parts[i] = &histogram{Histogram: h}
	}
	result.Lines = append(result.Lines, fast)
	rep := &report{Paced: &linkReport{Rate: 500, Transports: []string{"wss", "quic", "inmem"}, Results: []linkResult{result}}}
	if got := strings.Join(rep.verdict(), "\n"); got != "At 500 calls a second over the loopback interface: quic, by 3.00× at p99." {
		t.Errorf("got %s", got)
	}
}

// TestPage expects a page, and pictures, of whatever there is to show.
func TestPage(t *testing.T) {
	for name, rep := range map[string]*report{
		"whole":       overGrid(local(t, 0.5, "websocket", "quic"), 3),
		"one":         local(t, 1, "quic"),
		"links":       overGrid(&report{}, 1),
		"left out":    {Links: &linkReport{Transports: []string{"quic"}, LeftOut: "no permission"}},
		"compression": {Compression: madeUpCompression()},
		"nothing":     {},
	} {
		t.Run(name, func(t *testing.T) {
			rep.Failures = []failure{{"wss", "being <b>bold</b>", "\"no\""}}
			rep.finish(false)
			page, figures, err := rep.page()
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, f := range figures {
				if seen[f.name] || strings.ContainsAny(f.name, "/ %") {
					t.Errorf("picture %q: twice, or no name for a file", f.name)
				}
				seen[f.name] = true
			}
			text := string(page)
			if n := strings.Count(text, "<svg"); n != len(figures) {
				t.Errorf("%d pictures in the page, %d in files", n, len(figures))
			}
			for _, bad := range []string{"<b>bold", "%!", "NaN", "Inf", "ZgotmplZ"} {
				if strings.Contains(text, bad) {
					t.Errorf("the page has %q", bad)
				}
			}
			for _, sentence := range rep.Verdict {
				if !strings.Contains(text, sentence[:20]) {
					t.Errorf("the page lacks %q", sentence)
				}
			}
		})
	}
}

// TestMap expects the tile of a link to name the winner and how clearly it wins, and none
// where nobody does.
func TestMap(t *testing.T) {
	r := overGrid(&report{}, 3).Links
	value := func(l *linkLine) time.Duration { return l.P99 }
	if got := r.tile(20*time.Millisecond, 0.02, value); got.Color != 3 || got.Strength != 3 || strings.Join(got.Text, " ") != "quic 3.00×" {
		t.Errorf("%+v, want quic in its colour, by 3", got)
	}
	if got := r.tile(20*time.Millisecond, 0, value); got.Color != -1 || strings.Join(got.Text, " ") != undecided+" 1.00×" {
		t.Errorf("%+v, want no winner", got)
	}
	if got := r.tile(time.Second, 0, value); got.Color != -1 || got.Text != nil {
		t.Errorf("%+v, want nothing", got)
	}
}

// TestMapOfP999 expects the map of p99.9 to rank by that, and not to be there where the lines are too
// short for it to mean something.
func TestMapOfP999(t *testing.T) {
	r := overGrid(&report{}, 3).Links
	names := func() (all []string) {
		for _, f := range r.mapFigures() {
			all = append(all, f.name)
		}
		return all
	}
	if got := names(); !slices.Equal(got, []string{"link-map-p99"}) {
		t.Errorf("of 1500 calls a line there are %v", got)
	}
	for i := range r.Results {
		for j := range r.Results[i].Lines {
			l := &r.Results[i].Lines[j]
			l.Calls = enoughForP999
			if l.Transport == "quic" {
				l.P999 = 2 * r.Results[i].Lines[0].P999 // and wss is the first of them
			}
		}
	}
	if got := names(); !slices.Equal(got, []string{"link-map-p99", "link-map-p99.9"}) {
		t.Errorf("of %d calls a line there are %v", enoughForP999, got)
	}
	got := r.tile(20*time.Millisecond, 0.02, func(l *linkLine) time.Duration { return l.P999 })
	if got.Color != -1 || strings.Join(got.Text, " ") != undecided+" 2.00×" {
		t.Errorf("%+v, want no winner where quic wins at p99 and is twice as slow at p99.9", got)
	}
}

// TestTimeline expects what happened to be in the part of the run that it happened in, and
// parts that were not over when it ended to be left out.
func TestTimeline(t *testing.T) {
	when := &timeline{length: 4 * time.Second} // parts of 100 ms
	when.call(150*time.Millisecond, time.Millisecond)
	when.call(199*time.Millisecond, 9*time.Millisecond)
	when.sent(350*time.Millisecond, 1000)
	when.call(4*time.Second, time.Second) // just behind the end
	all := when.moments(4 * time.Second)
	if len(all) != moments {
		t.Fatalf("%d parts, want %d", len(all), moments)
	}
	if m := all[1]; m.Since != 100*time.Millisecond || m.Calls != 2 || m.Max < 9*time.Millisecond || m.P50 > 2*time.Millisecond {
		t.Errorf("%+v, want two calls of 1 and 9 ms at 100 ms", m)
	}
	if m := all[3]; m.Bits != 80_000 || m.Calls != 0 || m.Max != 0 {
		t.Errorf("%+v, want 80 kbit/s and no call", m)
	}
	if m := all[moments-1]; m.Calls != 1 {
		t.Errorf("%+v, want the call at the end", m)
	}
	if n := len(when.moments(350 * time.Millisecond)); n != 3 {
		t.Errorf("%d parts of 350 ms, want 3", n)
	}
}

// TestFacts expects every value that is known of the machine to have a line, those in objects
// below too.
func TestFacts(t *testing.T) {
	all := thisMachine().facts()
	got := map[string]string{}
	for _, f := range all {
		got[f[0]] = f[1]
	}
	if all[0][0] != "cpu" || got["go"] != runtime.Version() || got["cores"] != strconv.Itoa(runtime.NumCPU()) {
		t.Errorf("%v", all)
	}
	for name, value := range got {
		if strings.ContainsAny(name+value, "{}[]") || strings.Contains(value, "map") {
			t.Errorf("%s: %s", name, value)
		}
	}
}

// TestVerdictSameWithTLS expects one with TLS that is as fast as the best to be named once, and one that is slower to
// be named for those who want TLS: "websocket, or of those with TLS wss or wss".
func TestVerdictSameWithTLS(t *testing.T) {
	rep := local(t, 1, "websocket", "wss", "quic")
	slow := func(transport string) {
		for i := range rep.Cells {
			if c := &rep.Cells[i]; c.Transport == transport {
				for j := range c.Windows {
					c.Windows[j].Count = c.Windows[j].Count * 62 / 100
				}
				c.PerSecond *= 0.62
			}
		}
	}
	slow("quic")
	want := "without distance and loss, as on this machine: websocket or wss, between which there is no difference; quic does 0.62 times as much."
	if got := rep.localVerdict()[0]; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	slow("wss")
	if got := rep.localVerdict()[0]; !strings.Contains(got, ": websocket, or of those with TLS wss; wss does 0.62 times as much") {
		t.Errorf("%q", got)
	}
}
