package faulty_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
)

// A lab is a node under test, dialling a peer whose transport is not wrapped,
// in a bubble and over a perfect network.
type lab struct {
	*testing.T
	*faulty.Transport // of the node

	peer     *inmem.Transport
	listener transport.Listener // of the peer
	began    time.Time
}

func inBubble(t *testing.T, f func(*lab), opts ...faulty.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork()
		b := &lab{T: t, Transport: faulty.Wrap(n.Node("node"), opts...), peer: n.Node("peer"), began: time.Now()}
		l, err := b.peer.Listen(t.Context(), "peer")
		if err != nil {
			t.Fatal(err)
		}
		b.listener = l
		// What is held keeps goroutines: the last cleanup to run ends it all.
		t.Cleanup(b.Heal)
		f(b)
	})
}

// connect dials from the node and returns both ends.
func (b *lab) connect() (near, far transport.Conn) {
	b.Helper()
	near, err := b.Dial(b.Context(), transport.Peer{Name: "peer", Addr: "peer"})
	if err != nil {
		b.Fatal(err)
	}
	far, err = b.listener.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = near.CloseWithError(0, "")
		_ = far.CloseWithError(0, "")
	})
	return near, far
}

func (b *lab) at(want time.Duration, what string) {
	b.Helper()
	if got := time.Since(b.began); got != want {
		b.Errorf("%s happened at %v, not at %v", what, got, want)
	}
}

func (b *lab) until(d time.Duration) {
	time.Sleep(d - time.Since(b.began))
	synctest.Wait()
}

func batch(frames ...string) (all [][]byte) {
	for _, f := range frames {
		all = append(all, []byte(f))
	}
	return all
}

func (b *lab) write(c transport.Conn, frames ...string) {
	b.Helper()
	if err := c.WriteFrames(batch(frames...)); err != nil {
		b.Errorf("writing %q: %v", frames, err)
	}
}

func (b *lab) read(c transport.Conn, want ...string) {
	b.Helper()
	for _, w := range want {
		if got, err := c.ReadFrame(1 << 20); err != nil || string(got) != w {
			b.Errorf("read %q and error %v, not %q", got, err, w)
		}
	}
}

// A result is what a call that runs beside the test returned.
type result struct {
	frame string
	err   error
}

func start(f func() (string, error)) chan result {
	c := make(chan result, 1)
	go func() {
		s, err := f()
		c <- result{s, err}
	}()
	return c
}

func startRead(c transport.Conn) chan result {
	return start(func() (string, error) {
		f, err := c.ReadFrame(1 << 20)
		return string(f), err
	})
}

func startWrite(c transport.Conn, frames ...string) chan result {
	return start(func() (string, error) { return "", c.WriteFrames(batch(frames...)) })
}

func (b *lab) pending(c chan result, what string) {
	b.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		b.Fatalf("%s has ended, with %q and error %v", what, r.frame, r.err)
	default:
	}
}

// ended waits for a call.
func (b *lab) ended(c chan result, what string) result {
	b.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(24 * time.Hour):
		b.Fatalf("%s does not end", what)
		return result{}
	}
}

// isReset reports whether err is that of a connection which ended abruptly.
func isReset(err error) bool {
	_, closed := errors.AsType[*transport.CloseError](err)
	return err != nil && !errors.Is(err, net.ErrClosed) && !closed
}

// isCut reports whether err is what a peer sees of a cut that is not wrapped.
func isCut(err error) bool {
	ce, ok := errors.AsType[*transport.CloseError](err)
	return ok && ce.Code == 999 && ce.Reason == "faulty: connection cut"
}

// way returns both ends of a new connection in the order in which frames go in
// direction d.
func (b *lab) way(d faulty.Direction) (from, to transport.Conn) {
	b.Helper()
	near, far := b.connect()
	if d == faulty.In {
		return far, near
	}
	return near, far
}

var directions = map[string]faulty.Direction{"out": faulty.Out, "in": faulty.In}

func eachWay(t *testing.T, f func(b *lab, d faulty.Direction), opts ...faulty.Option) {
	t.Helper()
	for name, d := range directions {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *lab) { f(b, d) }, opts...)
		})
	}
}
