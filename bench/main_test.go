package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/gridmux/gridmux/bench/internal/link"
	"github.com/gridmux/gridmux/transport"
)

// TestQuick runs the program as continuous integration would and holds that the
// tables have no hole.
func TestQuick(t *testing.T) {
	t.Parallel()
	file, dir := filepath.Join(t.TempDir(), "bench.json"), filepath.Join(t.TempDir(), "new", "out")
	var stdout, stderr bytes.Buffer
	p := program{kinds(), unshaped, &stdout, &stderr}
	// Fewer at once than by default, for what 512 do takes long with the race detector.
	args := []string{"-quick", "-callers", "1,8", "-streams", "1,8", "-workloads", "calls,streams,mixed,links,compression", "-payload-sizes", "16KiB", "-compression-time", "600ms", "-json", file}
	if code := p.run(t.Context(), append(args, "-out", dir)); code != exitOK {
		t.Fatalf("exit code %d, want %d\n%s%s", code, exitOK, &stdout, &stderr)
	}
	out := stdout.String()
	checkPlain(t, out)
	if stderr.Len() > 0 {
		t.Errorf("on stderr: %q, want nothing", &stderr)
	}
	for _, want := range []string{
		"gridmux bench on ",
		"inmem (memory of this process)\n", "websocket (TCP on the loopback interface)\n",
		"a opens a stream to b: 100 messages, each answered before the next, take ",
		"a sees b go from connected to connecting",
		"outcome: may have run (repeat with care)", "outcome: not sent (safe to repeat)",
		"the cluster is whole again",
		"echoes 512 B",
		"round 1 of 3", "round 3 of 3",
		"wss (websocket with TLS on the loopback interface)\n", "quic (QUIC on the loopback interface)\n",
		"Reading: inmem answers ", "Reading: inmem moves ", "Reading: beside bulk, ",
		"link 1 of 1, 2.5s left, 5s in all: rtt=20ms,loss=0.5%\n", "Over rtt=20ms,loss=0.5%\n",
		"Reading: at p99 ", "over a link of 100mbit, ", "Compression: what is left", "Measured over emulated links, 16 KiB of json\n", "All of this is in " + file,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	of := []string{"inmem", "websocket", "wss", "quic"}
	rest := checkTable(t, out, of, []string{"1 caller", "8 callers"})
	rest = checkTable(t, rest, of, []string{
		"1 stream from b to a", "8 streams from b to a", "1 stream from a to b", "8 streams from a to b",
		"1 stream both ways", "8 streams both ways",
	})
	checkTable(t, rest, of, []string{"alone", "beside bulk"})
	if t.Failed() {
		t.Logf("the output was:\n%s", out)
	}

	checkOutput(t, dir, file)

	var rep report
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &rep)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.Schema != schema || rep.Rounds != minRounds || len(rep.Failures) > 0 || len(rep.Cells) != 40 {
		t.Errorf("JSON: schema %q, %d rounds, failures %v and %d cells, want %q, %d, none and 40",
			rep.Schema, rep.Rounds, rep.Failures, len(rep.Cells), schema, minRounds)
	}
	for _, c := range rep.Cells {
		timed := !strings.HasPrefix(c.Workload, "stream-")
		if len(c.Windows) != rep.Rounds || c.PerSecond <= 0 || c.Ratio <= 0 || c.AtOnce < 1 ||
			timed != (c.P50 > 0) || c.P99 > 0 && c.P99 < c.P50 || c.P999 > 0 && c.P999 < c.P99 || (c.Bulk > 0) != (c.Workload == "beside-bulk") {
			t.Errorf("JSON: a cell without sense: %+v", c)
		}
	}
	if rep.Links == nil || len(rep.Links.Results) != 1 || len(rep.Links.Results[0].Lines) != 2 {
		t.Fatalf("JSON: links %+v, want one with two transports", rep.Links)
	}
	for _, l := range rep.Links.Results[0].Lines {
		if l.Calls != 1000 || l.Failed != 0 || l.P50 <= 0 || l.P90 < l.P50 || l.P99 < l.P90 || l.P999 < l.P99 || l.Max < l.P999 || l.Ratio <= 0 || l.Bits <= 0 {
			t.Errorf("JSON: a line without sense: %+v", l)
		}
	}
	if rep.Compression == nil || len(rep.Compression.Results) != 2 || len(rep.Compression.Links) != 1 {
		t.Fatalf("JSON: compression %+v, want two results and one link", rep.Compression)
	}
	for _, c := range rep.Compression.Results {
		for _, l := range c.Lines {
			smaller := l.Codec != off && c.Payload == "json"
			if l.PerSecond <= 0 || len(l.Windows) != minRounds || smaller != (l.Wins != winsNever) || smaller != (l.Octets < 0.7*float64(c.Size)) {
				t.Errorf("JSON: a line of %s of %d B without sense: %+v", c.Payload, c.Size, l)
			}
		}
	}
}

// unshaped is a link without a network of its own, for what is to be tested where none
// can be emulated.
func unshaped(uint64, link.Conditions) (emulated, error) { return noLink{}, nil }

type noLink struct{}

func (noLink) at(string) host             { return thisHost{} }
func (noLink) stats() (link.Stats, error) { return link.Stats{}, nil }
func (noLink) close()                     {}

// checkPlain holds that an output is fit for a file: no control codes, and
// nothing that only shows when a line is selected.
func checkPlain(t *testing.T, out string) {
	t.Helper()
	if i := strings.IndexFunc(out, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
		t.Errorf("a control code in the output: %q", out[max(0, i-40):min(len(out), i+40)])
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSuffix(line, "\n"); strings.TrimRight(line, " ") != line {
			t.Errorf("a line ends in spaces: %q", line)
		}
	}
}

var ratioAndInterval = regexp.MustCompile(`(?:≈ )?(\d\S*×)(?: \S+–\S+)?`)

// checkTable holds that the first table has the blocks, each with a line for each
// transport, and a value in each of its columns. It returns what follows.
func checkTable(t *testing.T, out string, transports, blocks []string) (rest string) {
	t.Helper()
	_, rest, ok := strings.Cut(out, "───\n")
	if !ok {
		t.Error("no table")
		return ""
	}
	tab, rest, _ := strings.Cut(rest, "\n\n")
	lines := strings.Split(tab, "\n")
	if want := len(blocks) * (1 + len(transports)); len(lines) != want {
		t.Errorf("the table has %d lines, want %d", len(lines), want)
		return rest
	}
	columns := 0
	for i, line := range lines {
		// A ratio and its interval are one value.
		fields := strings.Fields(ratioAndInterval.ReplaceAllString(line, "$1"))
		block, in := blocks[i/(1+len(transports))], i%(1+len(transports))
		switch {
		case in == 0:
			if line != block {
				t.Errorf("%q where the block of %s begins", line, block)
			}
		case fields[0] != transports[in-1]:
			t.Errorf("%s: %q where the line of %s was to be", block, line, transports[in-1])
		default:
			if columns == 0 {
				columns = len(fields)
			}
			if len(fields) != columns || columns < 6 {
				t.Errorf("%s: %q has %d values, want %d, at least 6", block, line, len(fields), columns)
			}
		}
	}
	return rest
}

// broken is a transport that works as inmem does until something of it fails.
func broken(listens bool, calls int64) kind {
	return kind{"broken", "fails when it is told to", overMemory, false, func(at hosts) network {
		n := &brokenNetwork{network: kinds()[0].open(at), listens: listens}
		n.frames.Store(calls)
		return n
	}}
}

var errBroken = errors.New("broken on purpose")

type brokenNetwork struct {
	network

	listens bool
	frames  atomic.Int64 // that can still be written
}

func (n *brokenNetwork) site(name string) (site, error) {
	s, err := n.network.site(name)
	return &brokenSite{s, n}, err
}

type brokenSite struct {
	site

	net *brokenNetwork
}

func (s *brokenSite) boot() (transport.Transport, error) {
	t, err := s.site.boot()
	return &brokenTransport{t, s.net}, err
}

type brokenTransport struct {
	transport.Transport

	net *brokenNetwork
}

func (t *brokenTransport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if !t.net.listens {
		return nil, errBroken
	}
	return t.Transport.Listen(ctx, addr)
}

func (t *brokenTransport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, err := t.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &brokenConn{c, t.net}, nil
}

type brokenConn struct {
	transport.Conn

	net *brokenNetwork
}

func (c *brokenConn) WriteFrames(frames [][]byte) error {
	if c.net.frames.Add(-1) < 0 {
		return errBroken
	}
	return c.Conn.WriteFrames(frames)
}

// TestFailures holds that a transport that fails, whenever it does, is left out
// of the table, named with the reason, and makes the exit code say so.
func TestFailures(t *testing.T) {
	t.Parallel()
	const never = 1 << 60
	for _, test := range []struct {
		name string
		kind kind
		args []string
		want string // what was being done
	}{
		{"cluster", broken(false, never), nil, "showing a cluster"},
		{"connect", broken(false, never), []string{"-no-demo"}, "connecting two nodes"},
		{"call", broken(true, 60), []string{"-no-demo"}, "measuring 1 caller, round 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			known := append(kinds(), test.kind)
			args := append([]string{"-duration", "500ms", "-workloads", "calls", "-callers", "1,8", "-sizes", "none"}, test.args...)
			others := append(slices.Clone(args), "-transports", "inmem,websocket,broken")

			t.Run("beside others", func(t *testing.T) {
				t.Parallel()
				var stdout, stderr bytes.Buffer
				if code := (program{known, unshaped, &stdout, &stderr}).run(t.Context(), append(others, "-out=")); code != exitFailed {
					t.Errorf("exit code %d, want %d", code, exitFailed)
				}
				out := stdout.String()
				if want := "FAILED: broken, " + test.want + ": "; !strings.Contains(out, want) || !strings.Contains(out, errBroken.Error()) {
					t.Errorf("the output lacks %q or %q", want, errBroken)
				}
				checkPlain(t, out)
				checkTable(t, out, []string{"inmem", "websocket"}, []string{"1 caller", "8 callers"})
				if t.Failed() {
					t.Logf("the output was:\n%s", out)
				}
			})

			t.Run("alone", func(t *testing.T) {
				t.Parallel()
				var stdout, stderr bytes.Buffer
				args := append(slices.Clone(args), "-transports", "broken")
				if code := (program{known, unshaped, &stdout, &stderr}).run(t.Context(), append(args, "-out=")); code != exitFailed {
					t.Errorf("exit code %d, want %d", code, exitFailed)
				}
				out := stdout.String()
				if strings.Contains(out, "───") || !strings.Contains(out, "There is no table") {
					t.Errorf("want no table, and word of that, in:\n%s", out)
				}
			})
		})
	}
}

// TestInterrupt holds that an interrupt ends a run at once, that the table then has
// the rounds that were complete, and the JSON file, if there is anything, the same.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		at    string
		table bool
	}{
		{"all three are up", false},
		{"round 1 of", false},
		{"round 3 of", true},
	} {
		t.Run(test.at, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stdout := &trigger{at: test.at, do: cancel}
			var stderr bytes.Buffer
			name := filepath.Join(t.TempDir(), "bench.json")
			args := []string{"-duration", "600ms", "-workloads", "calls", "-callers", "1", "-sizes", "none", "-transports", "inmem,websocket", "-json", name}
			began := time.Now()
			p := program{kinds(), unshaped, stdout, &stderr}
			if code := p.run(ctx, append(args, "-out=")); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := stderr.String(); got != "bench: interrupted\n" {
				t.Errorf("on stderr: %q", got)
			}
			if _, err := os.Stat(name); test.table && err != nil || !test.table && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the JSON file: %v, with a table: %v", err, test.table)
			}
			out := stdout.String()
			if strings.Contains(out, "FAILED") {
				t.Errorf("an interrupt is no failure:\n%s", out)
			}
			if !test.table {
				if strings.Contains(out, "───") {
					t.Errorf("a table of nothing:\n%s", out)
				}
				return
			}
			checkTable(t, out, []string{"inmem", "websocket"}, []string{"1 caller"})
			if !strings.Contains(out, "Interrupted after round 2 of ") {
				t.Errorf("the output does not say how many rounds there were:\n%s", out)
			}
		})
	}
}

// trigger does something when a text is written.
type trigger struct {
	bytes.Buffer

	at string
	do func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if bytes.Contains(w.Bytes(), []byte(w.at)) {
		w.do()
	}
	return n, err
}

// TestOneTransport holds that a transport without the reference is not compared
// with it.
func TestOneTransport(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	args := []string{"-no-demo", "-duration", "2s", "-workloads", "calls,streams,mixed,fanout", "-callers", "2", "-streams", "3", "-size", "0", "-fanout", "2,3", "-transports", "inmem"}
	if code := run(t.Context(), append(args, "-out="), &stdout, io.Discard); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	out := stdout.String()
	if strings.Contains(out, "websocket") || !strings.Contains(out, "Reading: inmem answers up to ") {
		t.Errorf("want inmem alone in:\n%s", out)
	}
	for _, want := range []string{"inmem moves up to ", "small requests are answered within "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	rest := checkTable(t, out, []string{"inmem"}, []string{"2 callers"})
	rest = checkTable(t, rest, []string{"inmem"}, []string{"3 streams from b to a", "3 streams from a to b", "3 streams both ways"})
	rest = checkTable(t, rest, []string{"inmem"}, []string{"alone", "beside bulk"})
	checkTable(t, rest, []string{"inmem"}, []string{"to 2 peers", "to 3 peers"})
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		total time.Duration
		cells int
		want  plan
	}{
		{30 * time.Second, 8, plan{9, 83200 * time.Microsecond, 332800 * time.Microsecond}},
		{3 * time.Second, 8, plan{7, 10600 * time.Microsecond, 42400 * time.Microsecond}},
		{time.Minute, 8, plan{11, 136200 * time.Microsecond, 544800 * time.Microsecond}},
		{10 * time.Minute, 8, plan{15, time.Second, 4 * time.Second}},
		{600 * time.Millisecond, 8, plan{3, 5 * time.Millisecond, 20 * time.Millisecond}},
	} {
		if got := newPlan(test.total, test.cells); got != test.want {
			t.Errorf("%v for %d cells: %+v, want %+v", test.total, test.cells, got, test.want)
		}
	}
}

func TestKinds(t *testing.T) {
	names := strings.Split(kindNames(kinds()), ",")
	if !slices.Contains(names, reference) {
		t.Errorf("the reference %q is not among %q", reference, names)
	}
}
