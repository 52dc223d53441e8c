package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/internal/samples"
)

// madeUpWay is what a codec does in a made-up report: what it leaves of a message and
// how many bytes per second the processors do with it.
type madeUpWay struct {
	name        string
	left, bytes float64
}

// madeUpResult makes up what was measured of a payload.
func madeUpResult(payload string, size int, ways ...madeUpWay) compressionResult {
	c := compressionResult{Payload: payload, Size: size, Callers: 8}
	for _, w := range ways {
		// Windows of more than a second, for the calls of each to be a whole number.
		window := sample{Count: int64(w.bytes / 1000), Elapsed: time.Duration(size) * time.Millisecond}
		c.Lines = append(c.Lines, compressionLine{
			Codec: w.name, PerSecond: w.bytes / float64(size), Spread: 0.04, Octets: w.left * float64(size), CPU: time.Microsecond,
			Windows: []sample{window, window, window},
		})
	}
	c.judge()
	return c
}

// madeUpCompression makes up a report of two payloads.
func madeUpCompression() *compressionReport {
	r := newCompressionReport(plan{rounds: 3, warmUp: 5 * time.Millisecond, window: 20 * time.Millisecond}, "websocket")
	r.Rounds = 3
	r.Results = []compressionResult{
		madeUpResult("json", 128, madeUpWay{off, 1.1, 100e6}, madeUpWay{"s2", 1.1, 100e6}, madeUpWay{"s2+dict", 0.5, 40e6},
			madeUpWay{"zstd", 1.1, 99e6}, madeUpWay{"zstd+dict", 0.45, 20e6}),
		madeUpResult("json", 1<<20, madeUpWay{off, 1, 400e6}, madeUpWay{"s2", 0.3, 500e6}, madeUpWay{"zstd", 0.15, 300e6}),
		madeUpResult("random", 1<<10, madeUpWay{off, 1, 1e9}, madeUpWay{"s2", 1, 1.2e9}, madeUpWay{"zstd", 1, 0.9e9}),
	}
	return r
}

// madeUpSending has the messages of a result, unsent.
func madeUpSending(c compressionResult) *sending {
	s := &sending{payload: c.Payload, size: c.Size}
	for _, l := range c.Lines {
		s.ways = append(s.ways, &way{name: l.Codec})
	}
	return s
}

func TestCompressionRender(t *testing.T) {
	// Windows of which the middle one has so many calls per second.
	windows := func(perSecond ...int64) (all [][]sample) {
		for _, n := range perSecond {
			all = append(all, []sample{
				{Count: n - 1, Elapsed: time.Second}, {Count: n, Elapsed: time.Second}, {Count: n + 1, Elapsed: time.Second},
			})
		}
		return all
	}
	for _, test := range []struct {
		name   string
		change func(r *compressionReport)
	}{
		{"compression-whole", func(r *compressionReport) {
			of := madeUpSending(r.Results[1])
			r.addSpeed(of, 100e6, 8, windows(110, 360, 700), 0)
			r.addSpeed(of, 20e6, 8, windows(20, 60, 130), 0.005)
		}},
		{"compression-interrupted-noisy", func(r *compressionReport) {
			r.Rounds = 2
			r.Results[0].Lines[1].Spread = 0.61
		}},
		{"compression-left-out", func(r *compressionReport) {
			r.Results = r.Results[:1]
			r.LeftOut = "no emulated links on this machine: open /dev/net/tun: permission denied"
		}},
		{"compression-incompressible", func(r *compressionReport) { r.Results = r.Results[2:] }},
		{"compression-late", func(r *compressionReport) {
			of := madeUpSending(r.Results[1])
			r.addSpeed(of, 1e9, 8, windows(70, 140, 150), 0.031)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rep := &report{Compression: madeUpCompression()}
			test.change(rep.Compression)
			var out bytes.Buffer
			out.WriteString(rep.Compression.header(rep.Compression.Planned) + "\n")
			rep.render(&out)
			checkPlain(t, out.String())
			golden(t, filepath.Join("testdata", test.name+".golden"), out.Bytes())
		})
	}
}

// TestJudge expects a codec to win below the speed at which a link carries as many plain
// messages as the processors can compress, always where they can do more compressed ones
// than plain ones, and never where messages do not get smaller.
func TestJudge(t *testing.T) {
	c := madeUpResult("json", 1000, madeUpWay{off, 1, 100e6}, madeUpWay{"s2", 0.5, 50e6}, madeUpWay{"zstd", 0.25, 110e6},
		madeUpWay{"zstd+dict", 0.995, 200e6})
	for i, want := range []wins{winsNever, winsBelow, winsAlways, winsNever} {
		if got := c.Lines[i].Wins; got != want {
			t.Errorf("%s wins %s, want %s", c.Lines[i].Codec, got, want)
		}
	}
	s2 := &c.Lines[1]
	if want := 50e6 * 8 * 1500 / 1448; math.Abs(s2.WinsBelow-want) > 1 {
		t.Errorf("s2 wins below %.0f bit/s, want %.0f", s2.WinsBelow, want)
	}
	plain := &c.Lines[0]
	for _, near := range []float64{0.99, 1.01} {
		speed := near * s2.WinsBelow
		if won := s2.over(speed) > plain.over(speed); won != (near < 1) {
			t.Errorf("over a link of %.2f times that speed: %.0f calls compressed, %.0f plain", near, s2.over(speed), plain.over(speed))
		}
	}
}

// TestCodecByChance expects a codec that was ahead of none in some windows only not to be said to win
// everywhere, nor to be chosen, and the verdict to say between which speeds it stops to pay.
func TestCodecByChance(t *testing.T) {
	windows := func(perSecond ...int64) (all []sample) {
		for _, n := range perSecond {
			all = append(all, sample{Count: n, Elapsed: time.Second})
		}
		return all
	}
	off := compressionLine{Codec: off, PerSecond: 1000, Octets: 1000, Windows: windows(1000, 990, 1010, 1000, 1000)}
	chance := compressionLine{Codec: "s2", PerSecond: 1040, Octets: 500, Windows: windows(1040, 900, 1050, 880, 1060)}
	sure := compressionLine{Codec: "zstd", PerSecond: 1040, Octets: 400, Windows: windows(1040, 1030, 1050, 1040, 1040)}
	c := compressionResult{Payload: "json", Size: 1000, Lines: []compressionLine{off, chance, sure}}
	c.judge()
	s2, zstd := &c.Lines[1], &c.Lines[2]
	if s2.Wins != winsBelow || s2.WinsBelowWithin.Low >= s2.WinsBelow || s2.WinsBelowWithin.High <= s2.WinsBelow || zstd.Wins != winsAlways {
		t.Errorf("s2 wins %s %v, zstd %s, want s2 below a speed and zstd always", s2.Wins, s2.WinsBelowWithin, zstd.Wins)
	}
	const fast = 1e12
	if s2.ahead(&c.Lines[0], fast) || !zstd.ahead(&c.Lines[0], fast) {
		t.Errorf("s2 is ahead: %v, zstd: %v, want zstd alone", s2.ahead(&c.Lines[0], fast), zstd.ahead(&c.Lines[0], fast))
	}
	for i := range c.Lines { // interrupted after the second round
		c.Lines[i].Windows = c.Lines[i].Windows[:2]
	}
	c.judge()
	if zstd.Wins != winsBelow || zstd.ahead(&c.Lines[0], fast) {
		t.Errorf("after two rounds zstd wins %s, and is ahead: %v", zstd.Wins, zstd.ahead(&c.Lines[0], fast))
	}
	c.Lines[1].Windows, c.Lines[0].Windows = chance.Windows, off.Windows
	c.Lines = c.Lines[:2]
	c.judge()
	r := &compressionReport{Results: []compressionResult{c}}
	low, high := count(s2.WinsBelowWithin.Low/1e6), count(s2.WinsBelowWithin.High/1e6)
	if got, want := r.verdict()[0], "compression pays for json of 1,000 B below "+low+" to "+high+" Mbit/s (s2)."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLimit expects the speed below which a codec pays to be a range only if there are links of that speed at both ends.
func TestLimit(t *testing.T) {
	for within, want := range map[interval]string{
		{}: "5,000", {4e9, 6e9}: "4,000 to 6,000", {0, 15e9}: "a speed that cannot be told, at most 15,000",
		{1e3, 15e9}: "a speed that cannot be told, at most 15,000", {1e6, 15e9}: "1 to 15,000",
	} {
		l := compressionLine{WinsBelow: 5e9, WinsBelowWithin: within}
		if got := l.limit(); got != want {
			t.Errorf("%v: %s, want %s", within, got, want)
		}
	}
}

// TestFastest expects the cheapest of those to be chosen that carry about as many calls, and
// none that makes nothing smaller.
func TestFastest(t *testing.T) {
	c := madeUpResult("json", 1000, madeUpWay{off, 1, 500e6}, madeUpWay{"s2", 0.5, 250e6}, madeUpWay{"s2+dict", 0.49, 240e6},
		madeUpWay{"zstd", 0.2, 50e6}, madeUpWay{"zstd+dict", 1, 900e6})
	for _, test := range []struct {
		speed float64
		want  string
		gain  float64
	}{{100e9, off, 1}, {900e6, "s2", 2}, {10e6, "zstd", 5}} {
		best, gain := c.fastest(test.speed)
		if best.Codec != test.want || math.Abs(gain-test.gain) > 0.1 {
			t.Errorf("over %.0f bit/s %s is the fastest by %.2f, want %s by %.2f", test.speed, best.Codec, gain, test.want, test.gain)
		}
	}
}

// TestSpeedPlan expects a window over a slow link to be long beside what is under way.
func TestSpeedPlan(t *testing.T) {
	for _, test := range []struct {
		length   time.Duration
		underWay int
		speed    float64
		want     plan
	}{
		{time.Second, 125_000, 1e9, plan{5, 50 * time.Millisecond, 200 * time.Millisecond}},
		{time.Second, 125_000, 20e6, plan{5, 100 * time.Millisecond, 400 * time.Millisecond}},
		{time.Second, 125_000, 1e6, plan{5, 250 * time.Millisecond, time.Second}},
		{100 * time.Millisecond, 1, 1e9, plan{5, 50 * time.Millisecond, 25 * time.Millisecond}},
	} {
		if got := speedPlan(test.length, test.underWay, test.speed); got != test.want {
			t.Errorf("%v for %d bytes at %.0f bit/s: %+v, want %+v", test.length, test.underWay, test.speed, got, test.want)
		}
	}
}

// TestSpeedCallers expects fewer callers where a link is slow, whose messages would be under way for longer
// than a window, or than the time-out, and never a link that waits for the next message.
func TestSpeedCallers(t *testing.T) {
	for _, test := range []struct {
		size  int
		speed float64
		want  int
	}{{16 << 10, 1e6, 2}, {16 << 10, 50e6, 4}, {16 << 10, 100e6, leastCallers}, {16 << 10, 10e9, mostCallers}, {1 << 20, 1e9, leastCallers}, {200, 100e6, 250}, {16 << 20, 100e6, 2}, {16 << 20, 1e9, leastCallers}} {
		if got := speedCallers(test.size, test.speed); got != test.want {
			t.Errorf("%d callers with %d bytes at %.0f bit/s, want %d", got, test.size, test.speed, test.want)
		}
	}
}

// TestFewCallsInAWindow expects no certainty about a ratio of windows with four calls each, in which a fifth
// more cannot be seen: it was 5.00, from 5.00 to 5.00.
func TestFewCallsInAWindow(t *testing.T) {
	windows := func(count int64) (all []sample) {
		for range speedRounds {
			all = append(all, sample{Count: count, Elapsed: time.Second})
		}
		return all
	}
	r := madeUpCompression()
	r.addSpeed(madeUpSending(r.Results[1]), 1e6, 8, [][]sample{windows(4), windows(20), windows(20)}, 0)
	for _, l := range r.Links[0].Lines[1:] {
		if l.Gain != 5 || l.Within.known() {
			t.Errorf("%s: %v, within %v", l.Codec, l.Gain, l.Within)
		}
	}
}

// TestSendings expects messages of the sizes that were asked for, dictionaries for those
// that they make smaller, and no message to be among what a dictionary was trained on.
func TestSendings(t *testing.T) {
	o := compressionOptions{payloads: payloadNames(), sizes: []int{100, 20_000}}
	all := sendings(&o)
	if len(all) != len(o.payloads)*len(o.sizes) {
		t.Fatalf("%d sorts of messages, want %d", len(all), len(o.payloads)*len(o.sizes))
	}
	for i, s := range all {
		var names []string
		for _, w := range s.ways {
			names = append(names, w.name)
		}
		want := "off s2 zstd"
		if s.size < dictionaryUpTo && s.payload != imageName && s.payload != "random" {
			want = "off s2 s2+dict zstd zstd+dict"
		}
		if got := strings.Join(names, " "); got != want || s.payload != o.payloads[i/2] {
			t.Errorf("%s: sent %s, want %s", s.title(), got, want)
		}
		if len(s.messages) < leastMessages || len(s.messages) > mostMessages {
			t.Errorf("%s: %d messages", s.title(), len(s.messages))
		}
		trained := bytes.Join(generated(s.payload).train, nil)
		for _, m := range s.messages {
			// Pictures have their headers in common.
			known := s.payload != imageName && bytes.Contains(trained, m[:min(len(m), 100)])
			if len(m) != o.sizes[i%2] || known {
				t.Errorf("%s: a message of %d bytes, or one that a dictionary knows", s.title(), len(m))
			}
		}
	}
}

// TestCompressionOfSamples runs the workload as a user would with messages of his own, in
// lines, and expects all tables and the JSON file to have them, with and without links.
func TestCompressionOfSamples(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := bytes.Join(samples.ByName("log").Records(7, 400), []byte("\r\n\n"))
	if err := os.WriteFile(filepath.Join(dir, "a.log"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".hidden"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		open linkOpener
		args []string
		want string
	}{
		{"over links", unshaped, []string{"-speeds", "1gbit,200mbit"}, "\nMeasured over emulated links, "},
		{
			"left out", func(uint64, link.Conditions) (emulated, error) { return nil, errors.Join(link.ErrUnavailable) }, nil,
			"\nLinks of different speed are left out: no emulated links on this machine.\n",
		},
		{"in memory", unshaped, []string{"-transports", "inmem"}, "Now compression, over inmem: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "bench.json")
			var stdout, stderr bytes.Buffer
			args := []string{"-no-demo", "-workloads", "compression", "-samples", dir, "-lines", "-compression-time", "300ms", "-json", file}
			if code := (program{kinds(), test.open, &stdout, &stderr}).run(t.Context(), append(args, append(test.args, "-out=")...)); code != exitOK {
				t.Fatalf("exit code %d, want %d\n%s%s", code, exitOK, &stdout, &stderr)
			}
			checkPlain(t, stdout.String())
			if !strings.Contains(stdout.String(), test.want) {
				t.Errorf("the output lacks %q:\n%s", test.want, &stdout)
			}
			var rep report
			text, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(text, &rep)
			}
			if err != nil {
				t.Fatal(err)
			}
			c := rep.Compression
			if c == nil || len(c.Results) != 1 || c.Results[0].Payload != "samples" || c.Results[0].Size < 150 || c.Results[0].Size > 250 {
				t.Fatalf("JSON: %+v, want one result with messages of some 200 B", c)
			}
			checkCompressed(t, &c.Results[0])
			if links := test.name == "over links"; links && (len(c.Links) != 2 || len(c.Links[0].Lines) != 5) || !links && len(c.Links) > 0 {
				t.Errorf("JSON: over links %+v", c.Links)
			}
		})
	}
}

// checkCompressed holds that the lines of records of 200 B make sense.
func checkCompressed(t *testing.T, c *compressionResult) {
	t.Helper()
	if len(c.Lines) != 5 {
		t.Fatalf("JSON: %d ways, want 5", len(c.Lines))
	}
	for _, l := range c.Lines {
		dict := strings.HasSuffix(l.Codec, dictSuffix)
		share := l.Octets / c.Lines[0].Octets
		if l.PerSecond <= 0 || len(l.Windows) != minRounds || dict != (share < 0.6) || dict == (l.Wins == winsNever) {
			t.Errorf("JSON: a line without sense, with %.2f of the bytes: %+v", share, l)
		}
	}
}

// TestCompressionInterrupted expects an interrupt to leave what was complete.
func TestCompressionInterrupted(t *testing.T) {
	for _, test := range []struct {
		at    string
		table bool
	}{{"round 1 of 3", false}, {"round 3 of 3", true}} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stdout := &trigger{at: test.at, do: cancel}
		var stderr bytes.Buffer
		args := []string{"-no-demo", "-workloads", "compression", "-payloads", "random", "-payload-sizes", "1000", "-compression-time", "500ms"}
		if code := (program{kinds(), unshaped, stdout, &stderr}).run(ctx, append(args, "-out=")); code != exitInterrupted {
			t.Errorf("%s: exit code %d, want %d", test.at, code, exitInterrupted)
		}
		if got := stdout.String(); strings.Contains(got, "Interrupted after round 2 of 3") != test.table || strings.Contains(got, "FAILED") {
			t.Errorf("interrupted at %s it printed\n%s", test.at, got)
		}
	}
}

// TestCompressionFails expects a transport that breaks and links that do to be told as failures.
func TestCompressionFails(t *testing.T) {
	t.Parallel()
	noLinks := func(uint64, link.Conditions) (emulated, error) { return nil, errBroken }
	for _, test := range []struct {
		name string
		kind kind
		open linkOpener
		args []string
		want string
	}{
		{"transport", broken(true, 20), unshaped, []string{"-transports", "broken"}, "FAILED: compression, measuring: random 1,000 B, off: "},
		{"links", kinds()[1], noLinks, nil, "FAILED: compression, measuring: broken on purpose"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			args := append([]string{"-no-demo", "-workloads", "compression", "-compression-time", "300ms"}, test.args...)
			args = append(args, "-payloads", "random", "-payload-sizes", "1000")
			if code := (program{[]kind{test.kind}, test.open, &stdout, &stderr}).run(t.Context(), append(args, "-out=")); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			if !strings.Contains(stdout.String(), test.want) {
				t.Errorf("the output lacks %q:\n%s%s", test.want, &stdout, &stderr)
			}
		})
	}
}

// TestWrongBytes expects a message that arrives as another one to fail the check.
func TestWrongBytes(t *testing.T) {
	s := newSending("test", 5, [][]byte{[]byte("right")}, nil)
	c := openPair(t, func(m *core.Manager) error {
		return m.HandleAppend(s.ways[0].handler, func(ctx context.Context, _, dst []byte) ([]byte, error) {
			return s.ways[0].take(ctx, []byte("wrong"), dst)
		})
	})
	if err := s.ways[0].check(t.Context(), c.connection("b"), s.messages); err == nil || !strings.Contains(err.Error(), errWrongAnswer.Error()) {
		t.Errorf("the check ended with %v", err)
	}
	if err := s.ways[0].send(t.Context(), c.connection("b"), []byte("longer"), nil); !errors.Is(err, errWrongAnswer) {
		t.Errorf("an answer with another length ended with %v", err)
	}
}

// TestRecordsHalved expects records of some 200 bytes to take at most half of it between
// two nodes, with a dictionary trained on other records, as the statistics of the node
// that sends them have it.
func TestRecordsHalved(t *testing.T) {
	for _, name := range []string{"json", "log", "msgpack"} {
		d := trained(generated(name).train, samples.ByName(name).Records(messageSeed, 100))
		if d == nil {
			t.Errorf("%s: no dictionary", name)
			continue
		}
		for _, codec := range []*compress.Codec{compress.S2(compress.WithDictionary(d)), compress.Zstd(compress.WithDictionary(d))} {
			s := &sending{payload: name, size: 200, messages: samples.ByName(name).Records(messageSeed+1, 500)}
			s.add(off, nil)
			s.add(codec.Name()+dictSuffix, codec)
			pair, err := openSenders(t.Context(), kinds()[0].open(onLoopback), []*sending{s})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ways[1].check(t.Context(), pair.connection("b"), s.messages); err != nil {
				t.Error(err)
			}
			stats := pair.nodes["a"].Stats().Compression
			pair.end(t.Context())
			if len(stats) != 1 {
				t.Fatalf("%s, %s: statistics of %d handlers", name, codec.Name(), len(stats))
			}
			sent := stats[0].Requests.Sent
			what := fmt.Sprintf("%s, %s: %v", name, codec.Name(), stats[0])
			t.Log(what)
			if sent.Messages != 500 || float64(sent.Packed) > 0.5*float64(sent.Plain) {
				t.Errorf("%s; want at most half of the bytes", what)
			}
		}
	}
}

// TestOwnSending expects large messages of the user's to be cut off by their number and not
// in themselves, and their mean to be of those that are sent.
func TestOwnSending(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		m := bytes.Repeat([]byte{byte(i)}, 5<<20+i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), m, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := compressionOptions{samples: dir}
	if err := o.readOwn(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := ownSending(o.own)
	if len(s.messages) != 2 || len(s.messages[0]) != 5<<20+1 || len(s.messages[1]) != 5<<20+3 || s.size != 5<<20+2 {
		t.Errorf("%d messages with a mean of %d bytes, want the second and fourth", len(s.messages), s.size)
	}
}
