package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// reachable returns the transports that two hosts can have between them.
func reachable() []kind { return kinds()[1:] }

// openTestServer serves on free ports of the loopback interface.
func openTestServer(t *testing.T, at host) (*server, secret) {
	t.Helper()
	key := newSecret()
	s, err := openServer(t.Context(), at, serveOptions{host: at.Addr().String(), kinds: reachable(), secret: key, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, key
}

// TestRemote expects both ends of a path to connect over every transport if they have the same
// key, none to let in whoever has another one, and an end that comes back to be let in again.
func TestRemote(t *testing.T) {
	s, key := openTestServer(t, thisHost{})
	plain := func(*core.Config) {}
	for _, k := range reachable() {
		r := &remote{host: "127.0.0.1", port: s.port, secret: key, at: thisHost{}}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
			c, err := r.open(ctx, k, plain)
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			answer, err := c.connection(there).Request(ctx, echoID, []byte("hello"))
			if err != nil || string(answer) != "hello" {
				t.Errorf("%s: %q, %v", k.name, answer, err)
			}
			if c.wire() == 0 {
				t.Errorf("%s: nobody counts what goes over the wire", k.name)
			}
			c.end(t.Context())
			cancel()
		}
		r.secret = newSecret()
		want := r.String() + " over " + k.name + ": the other end has another key: use the one that bench serve prints there, or was given"
		if c, err := r.open(t.Context(), k, plain); err == nil {
			c.end(t.Context())
			t.Errorf("%s: whoever has another key is let in", k.name)
		} else if err.Error() != want {
			t.Errorf("%s: %v, want %s", k.name, err, want)
		}
	}
}

// nowhere is a host that knows no other.
type nowhere struct{ thisHost }

func (nowhere) Dial(_ context.Context, network, address string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}}
}

// dialsOnce is a host that tells when it is to dial again, which it does not.
type dialsOnce struct {
	thisHost

	dialled atomic.Bool
	again   func()
}

func (d *dialsOnce) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.dialled.Swap(true) {
		d.again()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.thisHost.Dial(ctx, network, address)
}

// TestRemoteIsNobody expects a host that there is not to be told at once, and another one that is connected in words of
// bench: core's are of names, which bench has no flag for.
func TestRemoteIsNobody(t *testing.T) {
	plain := func(*core.Config) {}
	r := &remote{host: "nobody.invalid", port: servePort, secret: newSecret(), at: nowhere{}}
	const want = "nobody.invalid:7600 over websocket: there is no host nobody.invalid: name the one that bench serve runs on"
	if _, err := r.open(t.Context(), reachable()[0], plain); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	s, key := openTestServer(t, thisHost{})
	r = &remote{host: "127.0.0.1", port: s.port, secret: key, at: thisHost{}}
	ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
	defer cancel()
	c, err := r.open(ctx, reachable()[0], plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end(t.Context())
	once := &dialsOnce{}
	refused, end := context.WithCancel(t.Context())
	defer end()
	once.again, r.at = end, once
	if _, err := r.open(refused, reachable()[0], plain); err == nil || !strings.Contains(err.Error(), ": another bench -connect is connected to it: ") {
		t.Errorf("a second one: %v", err)
	}
}

// asProgram makes the test binary act as bench.
const asProgram = "GRIDMUX_BENCH_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// asProcess is bench in a process of its own, which ends with the test.
func asProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// output is what a process writes, and tells when a text is in it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
}

func newOutput(want string) *output { return &output{want: want, seen: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := strings.Contains(o.text.String(), o.want)
	o.text.Write(p)
	if !had && strings.Contains(o.text.String(), o.want) {
		close(o.seen)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestTwoProcesses runs both ends as a user would, in a process each: the command that one prints
// makes the other measure every transport, and an interrupt ends the first, with its ports free.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	there := asProcess(t, serveName, "-listen", "127.0.0.1:0")
	said, log := newOutput("-key "), newOutput("gridmux: inbound connection refused")
	there.Stdout, there.Stderr = said, log
	if err := there.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-said.seen:
	case <-time.After(10 * time.Second):
		t.Fatalf("it serves nothing:\n%s", said)
	}
	_, command, _ := strings.Cut(said.String(), "go run ./bench ")
	file := filepath.Join(t.TempDir(), "bench.json")
	args := append(strings.Fields(command), "-duration", "1500ms", "-callers", "1", "-sizes", "none", "-streams", "1", "-paced-time", "360ms", "-link-rate", "500", "-stream-rate", "100kbit", "-out=", "-json", file)
	out, err := asProcess(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(text, &rep); err != nil {
		t.Fatal(err)
	}
	// A line of calls, three of streams and two of mixed, but for what a busy machine carries too little for.
	if want := len(reachable()) * (6 - len(rep.LeftOut)); len(rep.Cells) != want || len(rep.Cells) == 0 || len(rep.Failures) > 0 {
		t.Errorf("%d lines, want %d, and failures %v\n%s", len(rep.Cells), want, rep.Failures, out)
	}
	for _, c := range rep.Cells {
		if c.PerSecond <= 0 || c.Windows[0].Wire <= 100 {
			t.Errorf("a line without sense: %+v", c)
		}
	}
	if rep.Paced == nil || len(rep.Paced.Results) != 1 || len(rep.Paced.Results[0].Lines) != len(reachable()) {
		t.Fatalf("calls at a set rate: %+v", rep.Paced)
	}
	for _, l := range rep.Paced.Results[0].Lines {
		if l.Calls != 180 || l.Failed > 0 || l.P50 <= 0 {
			t.Errorf("a line without sense: %+v", l)
		}
	}

	// Of several in a minute one is logged, and so the first.
	_, address, _ := strings.Cut(command, "-connect ")
	address, _, _ = strings.Cut(address, " ")
	out, err = asProcess(t, "-connect", address, "-key", "another key than that", "-transports", "websocket", "-workloads", "calls", "-quick", "-out=").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "over websocket: the other end has another key: ") {
		t.Errorf("with another key: %v and\n%s", err, out)
	}
	select {
	case <-log.seen:
	case <-time.After(10 * time.Second):
		t.Errorf("what was refused is not logged: %q", log)
	}

	if err := there.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := there.Wait(); err != nil || !strings.HasSuffix(said.String(), "bench serve: ended\n") {
		t.Errorf("interrupted, it ends with %v and\n%s", err, said)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Errorf("its port is not free: %v", err)
	} else {
		ln.Close()
	}
}

// TestServeFlags expects what makes no sense to be one line and exit code 2, and a port in use
// too, with nothing left open.
func TestServeFlags(t *testing.T) {
	busy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for args, want := range map[string]string{
		"-listen 7600":                    `invalid value "7600" for flag -listen: use an address and port such as 192.0.2.7:7600 or :7600`,
		"-listen :65535":                  `invalid value ":65535" for flag -listen: use an address and port such as 192.0.2.7:7600 or :7600`,
		"-key short":                      `flag -key: it has 5 characters: use the one that bench serve prints, or at least 16 random ones`,
		"-transports inmem":               `invalid value "inmem" for flag -transports: there is no transport "inmem": choose from websocket,wss,quic`,
		"-fast":                           `there is no flag -fast: -help lists those there are`,
		"now":                             `unexpected argument "now": it takes flags only, -help lists them`,
		"-listen " + busy.Addr().String(): `websocket: listen tcp `,
	} {
		var stdout, stderr bytes.Buffer
		code := program{kinds(), unshaped, &stdout, &stderr}.run(t.Context(), append([]string{serveName}, strings.Fields(args)...))
		if got := stderr.String(); code != exitUsage || !strings.HasPrefix(got, "bench serve: "+want) || strings.Count(got, "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d and\n%s%swant\nbench serve: %s", args, code, &stdout, got, want)
		}
	}
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{serveName, "-help"}, &stdout, &stdout); code != exitOK || !strings.Contains(stdout.String(), "-listen") {
		t.Errorf("help: exit code %d and\n%s", code, &stdout)
	}
}

// TestFailedIsNotTriedAgain expects a transport that fails over a real path to be tried once, and not by
// every part of the run.
func TestFailedIsNotTriedAgain(t *testing.T) {
	nowhere := kind{name: "nowhere", carrier: overUDP + 1, tls: true} // so that it fails at once
	var stdout, stderr bytes.Buffer
	args := []string{"-connect", "127.0.0.1:7600", "-key", "0123456789abcdef", "-workloads", "calls,paced", "-quick", "-out="}
	code := (program{[]kind{nowhere}, unshaped, &stdout, &stderr}).run(t.Context(), args)
	if n := strings.Count(stdout.String(), "FAILED: nowhere, connecting two nodes"); code != exitFailed || n != 1 {
		t.Errorf("exit code %d, and it failed %d times, want once:\n%s", code, n, &stdout)
	}
}

// TestKeyIsNotTold expects no line about a key that is refused to have it, and a key to be read from a
// file, of which the name may be told.
func TestKeyIsNotTold(t *testing.T) {
	const rejected = "hunter2"
	dir := t.TempDir()
	for name, text := range map[string]string{"short": rejected + "\n", "good": "  0123456789abcdef\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{rejected, "@" + filepath.Join(dir, "short"), "@" + filepath.Join(dir, "gone")} {
		for _, args := range [][]string{{serveName, "-key", key}, {"-connect", "127.0.0.1:7600", "-key", key}} {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), args, &stdout, &stderr)
			if got := stderr.String(); code != exitUsage || strings.Contains(got, rejected) || strings.Count(got, "\n") != 1 || !strings.Contains(got, "flag -key: ") {
				t.Errorf("%q: exit code %d and %q", args, code, got)
			}
		}
	}
	if got, err := parseSecret("@" + filepath.Join(dir, "good")); err != nil || got.key != "0123456789abcdef" {
		t.Errorf("of a file: %q, %v", got.key, err)
	}
}

// TestAnnouncement expects the command for the other host to have the address that it can reach,
// and a key only if nobody knows it yet.
func TestAnnouncement(t *testing.T) {
	s, key := openTestServer(t, thisHost{})
	port := strconv.Itoa(s.port)
	if got, want := s.announcement(serveOptions{secret: key, made: true}), "-connect 127.0.0.1:"+port+" -key "+key.key+"\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q at its end", got, want)
	}
	if got, want := s.announcement(serveOptions{secret: key, made: true, chosen: true}), " -key "+key.key+" -transports "+kindNames(reachable())+"\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q at its end", got, want)
	}
	for args, chosen := range map[string]bool{"": false, "-transports quic": true, "-transports quic,wss,websocket": false} {
		if opts, err := parseServeFlags(kinds(), strings.Fields(args), io.Discard); err != nil || opts.chosen != chosen {
			t.Errorf("%q: %v, %v", args, opts.chosen, err)
		}
	}
	s.host = ""
	if got := s.announcement(serveOptions{secret: key}); strings.Contains(got, key.key) || !strings.Contains(got, "-connect this-host:"+port+" ") {
		t.Errorf("%q has a key, or not where to connect to", got)
	}
	if a, b := newSecret(), newSecret(); a == b || len(a.key) < leastKey || slices.Contains([]string{a.key, b.key}, "") {
		t.Errorf("new keys %q and %q", a.key, b.key)
	}
}
