package transporttest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// A defect is a transport that breaks one rule.
type defect struct {
	name    string
	subtest string // the one that must fail
	says    string // what its failure must contain
	fixture func() Fixture
}

// brokenEnv tells the child process which defect to run.
const brokenEnv = "GRIDMUX_TRANSPORTTEST_DEFECT"

// TestBroken runs the suite on broken transports, in a child process each,
// because a failure of the suite is one of the process too.
//
//nolint:tparallel // the other tests look for goroutines left behind, so nothing may run beside them
func TestBroken(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		for _, d := range defects {
			if d.name == name {
				RunInBubble(t, func(*testing.T) Fixture { return d.fixture() })
				return
			}
		}
		t.Fatalf("no defect is called %q", name)
	}
	caught := make(map[string]bool)
	for _, d := range defects {
		caught[d.subtest] = true
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=1m",
				"-test.run=^TestBroken$/^"+regexp.QuoteMeta(d.subtest)+"$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+d.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("a transport that %s passes %s:\n%s", d.name, d.subtest, out)
			}
			if !strings.Contains(string(out), "--- FAIL: TestBroken/"+d.subtest) || !strings.Contains(string(out), d.says) {
				t.Fatalf("a transport that %s does not fail %s with %q: %v\n%s", d.name, d.subtest, d.says, err, out)
			}
		})
	}
	for _, c := range cases {
		if !caught[c.name] {
			t.Errorf("no defect shows that %s can fail", c.name)
		}
	}
}

// TestKindsOfDefects holds that whatever a transport is most likely to get wrong
// is among the broken ones, and so fails a subtest by name.
func TestKindsOfDefects(t *testing.T) {
	for kind, names := range map[string][]string{
		"drops":                       {"drops a frame", "holds back a frame", "skips empty frames"},
		"repeats":                     {"repeats a frame"},
		"reorders":                    {"reverses a batch", "reorders batches", "accepts the newest lane first"},
		"merges":                      {"merges a batch"},
		"splits":                      {"splits long frames", "splits a frame of a batch"},
		"keeps a buffer":              {"writes after WriteFrames has returned", "reads ahead into the borrowed frame", "uses one buffer both ways"},
		"ignores the context":         {"dials whatever the context says", "waits for an answer whatever the context says", "accepts whatever the context says", "waits for a lane whatever the context says"},
		"leaks":                       {"leaks a goroutine with every close", "leaves a goroutine behind", "leaves a connection behind", "forgets connections in its queue"},
		"unblocks only one direction": {"does not unblock ReadFrame", "does not unblock WriteFrames"},
		"believes a length":           {"allocates before it looks at the limit", "ignores the limit", "cuts lengths to sixteen bits"},
	} {
		for _, name := range names {
			if !slices.ContainsFunc(defects, func(d defect) bool { return d.name == name }) {
				t.Errorf("%s: no broken transport %s", kind, name)
			}
		}
	}
}

// TestIntact shows that the wrapper alone breaks nothing.
func TestIntact(t *testing.T) {
	RunInBubble(t, func(*testing.T) Fixture {
		return broken(func(*conn) {})()
	})
}

// TestHeadroom runs the suite on a transport that has a header, and that
// scribbles over everything a transport may scribble over.
func TestHeadroom(t *testing.T) {
	const headroom = 14
	scribbling := func(c *conn) {
		write, info := c.write, c.info
		c.write = func(frames [][]byte) error {
			inner := make([][]byte, len(frames))
			for i, f := range frames {
				inner[i] = f[headroom:]
			}
			err := write(inner)
			if !errors.Is(err, transport.ErrFrameTooLarge) {
				for i, f := range frames {
					scribble(f)
					frames[i] = nil
				}
			}
			return err
		}
		c.info = func() transport.Info { i := info(); i.Headroom = headroom; return i }
	}
	RunInBubble(t, func(*testing.T) Fixture {
		return broken(func(c *conn) {
			scribbling(c)
			lane := func(next func(context.Context) (transport.Conn, error)) func(context.Context) (transport.Conn, error) {
				return func(ctx context.Context) (transport.Conn, error) {
					l, err := next(ctx)
					if err != nil {
						return nil, err
					}
					w := &conn{read: l.ReadFrame, write: l.WriteFrames, end: l.CloseWithError, info: l.Info}
					scribbling(w)
					return w, nil
				}
			}
			c.open, c.accept = lane(c.open), lane(c.accept)
		})()
	})
}

// A wrapped transport has its connections and listeners changed by functions.
type wrapped struct {
	transport.Transport
	conn     func(*conn)
	listener func(*listener)
	dial     func(ctx context.Context, to transport.Peer, next dialFunc) (transport.Conn, error)
	listen   func(ctx context.Context, addr string, next listenFunc) (transport.Listener, error)
}

type (
	dialFunc   func(context.Context, transport.Peer) (transport.Conn, error)
	listenFunc func(context.Context, string) (transport.Listener, error)
)

func (w *wrapped) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	dial := w.Transport.Dial
	if w.dial != nil {
		dial = func(ctx context.Context, to transport.Peer) (transport.Conn, error) {
			return w.dial(ctx, to, w.Transport.Dial)
		}
	}
	c, err := dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return w.wrap(c, true), nil
}

func (w *wrapped) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	listen := w.Transport.Listen
	if w.listen != nil {
		listen = func(ctx context.Context, addr string) (transport.Listener, error) {
			return w.listen(ctx, addr, w.Transport.Listen)
		}
	}
	inner, err := listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	l := &listener{Listener: inner, accept: inner.Accept, close: inner.Close}
	if w.listener != nil {
		w.listener(l)
	}
	accept := l.accept
	l.accept = func(ctx context.Context) (transport.Conn, error) {
		c, err := accept(ctx)
		if err != nil {
			return nil, err
		}
		return w.wrap(c, false), nil
	}
	return l, nil
}

func (w *wrapped) wrap(inner transport.Conn, dialled bool) transport.Conn {
	c := &conn{
		LaneConn: inner.(transport.LaneConn), dialled: dialled,
		read: inner.ReadFrame, write: inner.WriteFrames, end: inner.CloseWithError, info: inner.Info,
	}
	c.open, c.accept = c.LaneConn.OpenLane, c.LaneConn.AcceptLane
	if w.conn != nil {
		w.conn(c)
	}
	return c
}

// conn is a connection whose methods can be replaced.
type conn struct {
	transport.LaneConn
	dialled bool

	read         func(limit int) ([]byte, error)
	write        func(frames [][]byte) error
	end          func(code uint32, reason string) error
	info         func() transport.Info
	open, accept func(context.Context) (transport.Conn, error)
}

func (c *conn) ReadFrame(limit int) ([]byte, error)             { return c.read(limit) }
func (c *conn) WriteFrames(frames [][]byte) error               { return c.write(frames) }
func (c *conn) CloseWithError(code uint32, reason string) error { return c.end(code, reason) }
func (c *conn) Info() transport.Info                            { return c.info() }

func (c *conn) OpenLane(ctx context.Context) (transport.Conn, error)   { return c.open(ctx) }
func (c *conn) AcceptLane(ctx context.Context) (transport.Conn, error) { return c.accept(ctx) }

// listener is a listener whose methods can be replaced.
type listener struct {
	transport.Listener
	accept func(context.Context) (transport.Conn, error)
	close  func() error
}

func (l *listener) Accept(ctx context.Context) (transport.Conn, error) { return l.accept(ctx) }
func (l *listener) Close() error                                       { return l.close() }

// brokenTransport is a fixture of both nodes wrapped alike.
func brokenTransport(w wrapped) func() Fixture {
	return func() Fixture {
		n := inmem.NewNetwork()
		n.Partition("a", "silent")
		a, b := w, w
		a.Transport, b.Transport = n.Node("a"), n.Node("b")
		return Fixture{
			Dialer:   &a,
			Listener: &b,
			Addr:     "b",
			Silent:   transport.Peer{Name: "silent", Addr: "silent"},
			Lanes:    true,
			Cut:      func() { n.Cut("a", "b") },
		}
	}
}

// broken is brokenTransport with broken connections.
func broken(f func(*conn)) func() Fixture { return brokenTransport(wrapped{conn: f}) }

// brokenListener is brokenTransport with broken listeners.
func brokenListener(f func(*listener)) func() Fixture { return brokenTransport(wrapped{listener: f}) }
