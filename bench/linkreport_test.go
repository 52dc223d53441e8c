package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// madeUp is a run over links with latencies made up: those of a transport are
// factors[name] times the round-trip time, and the slowest of a hundred grow with the loss.
func madeUp(over []linkSpec, transports []string, factors map[string]float64) *linkReport {
	opts := linkOptions{
		paced: paced{rate: 500, size: 512, streams: 4, bits: 1e6, warmUp: linkWarmUp, duration: 20 * time.Second},
		over:  over, seed: 1,
	}
	var of []kind
	for _, name := range transports {
		of = append(of, kind{name: name})
	}
	r := newLinkReport(opts, of)
	r.TCPCongestion = "cubic"
	for _, spec := range over {
		c := spec.conditions
		result := linkResult{Title: spec.title, Conditions: c.String(), RTT: c.RTT, Loss: c.Loss, Grid: spec.grid}
		for _, name := range transports {
			if c.BlockUDP && name == "quic" {
				result.Lines = append(result.Lines, linkLine{Transport: name, NoConnection: "UDP is blocked"})
				continue
			}
			result.Lines = append(result.Lines, madeUpLine(name, c, factors[name]))
		}
		r.add(result)
	}
	return r
}

func madeUpLine(name string, c link.Conditions, factor float64) linkLine {
	random := rand.New(rand.NewPCG(1, 2))
	p := pacedResult{elapsed: 20 * time.Second, bits: 4e6}
	for i := range p.latency {
		p.latency[i] = newLinkHistogram()
		for range 2000 {
			took := float64(c.RTT) * (1 + random.Float64()/50)
			if random.Float64() < 20*c.Loss {
				took += factor * float64(c.RTT) * random.Float64() * 4
			}
			_ = p.latency[i].RecordValue(int64(took))
		}
	}
	l := linkLine{Transport: name}
	l.fill(p)
	l.count(link.Stats{Sent: 100}, link.Stats{Sent: 20_100, Lost: uint64(20_000 * c.Loss)})
	return l
}

func madeUpGrid(rtts []time.Duration, losses []float64) (over []linkSpec) {
	for _, rtt := range rtts {
		for _, loss := range losses {
			c := link.Conditions{RTT: rtt, Loss: loss}
			over = append(over, linkSpec{c.String(), c, true})
		}
	}
	return over
}

func madeUpLink(t *testing.T, name string) linkSpec {
	t.Helper()
	c, err := link.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return linkSpec{title: name, conditions: c}
}

// TestRenderLinks compares what is printed for figures made up with the golden files.
func TestRenderLinks(t *testing.T) {
	both := []string{"wss", "quic"}
	faster := map[string]float64{"wss": 1, "websocket": 1, "quic": 0.5}
	one := madeUpGrid([]time.Duration{20 * time.Millisecond}, []float64{0.02})
	for _, test := range []struct {
		name   string
		report func() *report
	}{
		{"links-grid", func() *report {
			return &report{Links: madeUp(madeUpGrid(defaultRTTs, defaultLosses), both, faster)}
		}},
		{"links-named", func() *report {
			// The one that is blocked cannot win, and equal ones do not either.
			over := []linkSpec{madeUpLink(t, "lossy-wifi"), madeUpLink(t, "udp-blocked")}
			return &report{Links: madeUp(over, []string{"websocket", "wss", "quic"}, faster)}
		}},
		{"links-one-transport", func() *report {
			r := madeUp(one, []string{"quic"}, faster)
			r.Streams = 0
			return &report{Links: r}
		}},
		{"links-interrupted", func() *report {
			r := madeUp(one, both, faster)
			r.Planned = 2
			for i := range r.Results[0].Lines {
				r.Results[0].Lines[i].Elapsed = 7 * time.Second
			}
			return &report{Links: r}
		}},
		{"links-busy", func() *report {
			r := madeUp(one, both, faster)
			l := &r.Results[0].Lines[0]
			l.Late, l.Failed = 2400, 3
			return &report{Links: r}
		}},
		{"links-failed", func() *report {
			rep := &report{Links: madeUp(one, []string{"wss"}, faster)}
			rep.Links.Transports = both
			rep.fail("quic", "measuring over rtt=20ms,loss=2%", errors.New("gridmux: bench.sink on b: may have run: not connected"))
			return rep
		}},
		{"links-left-out", func() *report {
			r := madeUp(nil, both, nil)
			r.LeftOut = "no emulated links on this machine: as the user that this is: open /dev/net/tun: permission denied"
			return &report{Links: r}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rep := test.report()
			var out bytes.Buffer
			out.WriteString(rep.Links.header(rep.Links.Planned) + "\n")
			rep.render(&out)
			checkPlain(t, out.String())
			golden(t, filepath.Join("testdata", test.name+".golden"), out.Bytes())
		})
	}
}

// TestLinksLeftOut expects a machine without emulated links to be told in one line, with
// what it lacks, and to be no failure unless the flags ask for links, and links that break to
// be one.
func TestLinksLeftOut(t *testing.T) {
	t.Parallel()
	unavailable := func(uint64, link.Conditions) (emulated, error) { return nil, errors.Join(link.ErrUnavailable) }
	for _, test := range []struct {
		name           string
		open           linkOpener
		args           []string
		code           int
		stdout, stderr string
	}{
		{
			"unavailable", unavailable,
			strings.Fields("-transports wss -duration 900ms -callers 1 -sizes none -streams 1 -fanout 1 -paced-time 180ms -nodes 3 " +
				"-payloads random -payload-sizes 1KiB -compression-time 300ms"),
			exitOK, "\nEmulated links are left out: no emulated links on this machine. They need Linux", "",
		},
		{"asked for", unavailable, []string{"-workloads", "links"}, exitUsage, "", "bench: no emulated links on this machine: they need Linux"},
		{"one asked for", unavailable, []string{"-link", "wan"}, exitUsage, "", "bench: no emulated links on this machine: they need Linux"},
		{
			"broken", func(uint64, link.Conditions) (emulated, error) { return nil, errBroken },
			[]string{"-workloads", "links", "-quick"},
			exitFailed, "\nFAILED: links, emulating rtt=20ms,loss=0.5%: broken on purpose\n", "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			p := program{kinds(), test.open, &stdout, &stderr}
			dir := filepath.Join(t.TempDir(), "out")
			if code := p.run(t.Context(), append(test.args, "-no-demo", "-out", dir)); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) || test.code == exitUsage && stdout.Len() > 0 {
				t.Errorf("want %q in the output:\n%s", test.stdout, &stdout)
			}
			if got := stderr.String(); !strings.HasPrefix(got, test.stderr) || test.stderr == "" && got != "" || strings.Count(got, "\n") > 1 {
				t.Errorf("%q on stderr, want %q", got, test.stderr)
			}
			if _, err := os.Stat(dir); (err == nil) != (test.code == exitOK) {
				t.Errorf("the output directory: %v, with exit code %d", err, test.code)
			}
		})
	}
}

// TestWinner expects a transport to win only if it was surely the faster, and by a twentieth
// at least: one was told to win by a hundredth.
func TestWinner(t *testing.T) {
	// The calls of each part took so many milliseconds, those of further ones as long as the last; 0: there are none.
	line := func(name string, millis ...int64) linkLine {
		p := pacedResult{elapsed: time.Second}
		for i := range p.latency {
			p.latency[i] = newLinkHistogram()
			if took := millis[min(i, len(millis)-1)] * int64(time.Millisecond); took > 0 {
				_ = p.latency[i].RecordValues(took, 100)
			}
		}
		l := linkLine{Transport: name}
		l.fill(p)
		return l
	}
	a := line("a", 10)
	for _, test := range []struct {
		lines []linkLine
		want  string
	}{
		{[]linkLine{a, line("b", 20)}, "a"},
		{[]linkLine{line("b", 20), a}, "a"},
		{[]linkLine{a, line("b", 20, 20, 9)}, ""}, // in most parts it was slower
		{[]linkLine{a, line("b", 20, 9)}, ""},     // and but for one
		{[]linkLine{line("a", 99), line("b", 100)}, ""},
		{[]linkLine{line("a", 94), line("b", 100)}, "a"},
		{[]linkLine{a, line("b", 20, 20, 0)}, ""}, // nothing was due in most
		{[]linkLine{a, line("b", 20), line("c", 30, 30, 9)}, ""},
		{[]linkLine{a, {Transport: "b", NoConnection: "no"}}, "a"},
		{[]linkLine{a}, ""},
		{[]linkLine{{Transport: "b", NoConnection: "no"}}, ""},
	} {
		r := linkResult{Lines: test.lines}
		got := ""
		if w := r.winner(); w != nil {
			got = w.Transport
		}
		if got != test.want {
			t.Errorf("of %+v %q wins, not %q", test.lines, got, test.want)
		}
	}
}

// TestNothingMeasured expects a run in which no transport connected to count as none that measured
// anything, and not to speak of lines with a negative number of calls.
func TestNothingMeasured(t *testing.T) {
	over := []linkSpec{{title: "udp-blocked", conditions: link.Conditions{RTT: 20 * time.Millisecond, BlockUDP: true}}}
	r := madeUp(over, []string{"quic"}, nil)
	if rep := (&report{Links: r}); rep.measured() || rep.verdict() != nil {
		t.Errorf("measured: %v, verdict: %q, want neither", rep.measured(), rep.verdict())
	}
	if got := r.legend(); strings.Contains(got, "-1") || strings.Contains(got, "calls,") {
		t.Errorf("the legend says %q", got)
	}
}

// TestFailedCallsDoNotWin expects no transport to win over which calls failed, however fast the others
// were, and the verdict to say why.
func TestFailedCallsDoNotWin(t *testing.T) {
	r := overGrid(&report{}, 3).Links
	result := &r.Results[len(r.Results)-1]
	quic := result.line("quic")
	if result.winner() != quic {
		t.Fatal("quic does not win anyway")
	}
	quic.Failed = 3
	if w := result.winner(); w != nil {
		t.Errorf("%s wins", w.Transport)
	}
	if got, want := result.outcome(), "no clear difference (calls failed over quic)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := r.verdict(result), "No transport wins: quic has the lowest p99, and 3 of its calls failed."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestUnconnectedIsLeftOut expects a transport that does not connect over a link to be tried over that one
// alone, and the other one to be measured over all.
func TestUnconnectedIsLeftOut(t *testing.T) {
	t.Parallel()
	never, works := broken(false, 0), kinds()[0]
	never.name, never.carrier, never.tls = "never", overTCP, true
	works.name, works.carrier, works.tls = "works", overTCP, true
	var stdout, stderr bytes.Buffer
	file := filepath.Join(t.TempDir(), "results.json")
	args := []string{"-no-demo", "-workloads", "links", "-rtt", "1ms,2ms", "-loss", "0", "-link-time", "100ms", "-link-streams", "0", "-out=", "-json", file}
	if code := (program{[]kind{never, works}, unshaped, &stdout, &stderr}).run(t.Context(), args); code != exitFailed {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	rep, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Failures) != 1 || rep.Failures[0].Transport != "never" || rep.Failures[0].Doing != "connecting two nodes over rtt=1ms" {
		t.Errorf("failures %v, want one, over the first link", rep.Failures)
	}
	if len(rep.Links.Results) != 2 || rep.Links.Results[1].line("works") == nil {
		t.Errorf("%d links, want both with the transport that works", len(rep.Links.Results))
	}
}
