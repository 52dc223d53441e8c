package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
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
			out.WriteString(rep.Links.header() + "\n")
			rep.render(&out)
			checkPlain(t, out.String())
			golden(t, filepath.Join("testdata", test.name+".golden"), out.Bytes())
		})
	}
}

// TestLinksLeftOut expects a machine without emulated links to be told in one line, with
// what it lacks, and to be no failure, and links that break to be one.
func TestLinksLeftOut(t *testing.T) {
	for _, test := range []struct {
		name  string
		open  linkOpener
		code  int
		wants []string
	}{
		{
			"unavailable",
			func(uint64, link.Conditions) (emulated, error) { return nil, errors.Join(link.ErrUnavailable) },
			exitOK,
			[]string{"\nEmulated links are left out: no emulated links on this machine. They need Linux"},
		},
		{
			"broken",
			func(uint64, link.Conditions) (emulated, error) { return nil, errBroken },
			exitFailed,
			[]string{"\nFAILED: links, emulating rtt=20ms,loss=0.5%: broken on purpose\n", "There is no table"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := program{kinds(), test.open, &stdout, &stderr}
			if code := p.run(t.Context(), []string{"-no-demo", "-quick", "-workloads", "links"}); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.wants {
				if !bytes.Contains(stdout.Bytes(), []byte(want)) {
					t.Errorf("the output lacks %q:\n%s", want, &stdout)
				}
			}
		})
	}
}

// TestWinner expects a transport to win only if it was the faster in every part, and by
// a twentieth in all: one was told to win by a hundredth.
func TestWinner(t *testing.T) {
	line := func(name string, p99 ...time.Duration) linkLine {
		return linkLine{Transport: name, Calls: 10, P99: p99[0], PartsP99: [parts]time.Duration(p99)}
	}
	a := line("a", 1, 1, 1, 1, 1)
	for _, test := range []struct {
		lines []linkLine
		want  string
	}{
		{[]linkLine{a, line("b", 2, 2, 2, 2, 2)}, "a"},
		{[]linkLine{line("b", 2, 2, 2, 2, 2), a}, "a"},
		{[]linkLine{a, line("b", 2, 2, 2, 2, 1)}, ""},
		{[]linkLine{line("a", 99, 99, 99, 99, 99), line("b", 100, 100, 100, 100, 100)}, ""},
		{[]linkLine{line("a", 95, 95, 95, 95, 95), line("b", 100, 100, 100, 100, 100)}, "a"},
		{[]linkLine{a, line("b", 2, 2, 2, 2, 0)}, ""}, // nothing was due there
		{[]linkLine{a, line("b", 2, 2, 2, 2, 2), line("c", 3, 3, 3, 3, 0)}, ""},
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
