package inmem_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// A lab is a network inside a bubble, with node b listening on its name.
type lab struct {
	*testing.T
	*inmem.Network
	began    time.Time
	listener transport.Listener
}

// inBubble runs f with a lab.
func inBubble(t *testing.T, f func(*lab), opts ...inmem.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &lab{T: t, Network: inmem.NewNetwork(opts...), began: time.Now()}
		b.listener = b.listen("b")
		f(b)
	})
}

func (b *lab) listen(node string) transport.Listener {
	b.Helper()
	l, err := b.Node(node).Listen(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

func (b *lab) connect() (near, far transport.Conn) {
	b.Helper()
	return dialTo(b, b.Node("a"), b.listener)
}

// at fails unless so much time has passed since the beginning.
func (b *lab) at(want time.Duration, what string) {
	b.Helper()
	if got := time.Since(b.began); got != want {
		b.Errorf("%s happened at %v, not at %v", what, got, want)
	}
}

// until sleeps until so much time has passed since the beginning, and then
// until nothing more happens at that time.
func (b *lab) until(d time.Duration) {
	time.Sleep(d - time.Since(b.began))
	synctest.Wait()
}

func (b *lab) write(c transport.Conn, frames ...string) {
	b.Helper()
	var batch [][]byte
	for _, f := range frames {
		batch = append(batch, []byte(f))
	}
	if err := c.WriteFrames(batch); err != nil {
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

// An outcome is how a call ended, and when after the beginning of the test.
type outcome struct {
	frame string
	err   error
	at    time.Duration
}

func (o outcome) String() string { return fmt.Sprintf("%q, error %v, at %v", o.frame, o.err, o.at) }

// start runs f beside the test.
func (b *lab) start(f func() (string, error)) *pending {
	p := &pending{c: make(chan outcome, 1)}
	go func() {
		s, err := f()
		p.c <- outcome{s, err, time.Since(b.began)}
	}()
	return p
}

func (b *lab) startRead(c transport.Conn) *pending {
	return b.start(func() (string, error) {
		f, err := c.ReadFrame(1 << 20)
		return string(f), err
	})
}

func (b *lab) startWrite(c transport.Conn, frames ...string) *pending {
	return b.start(func() (string, error) {
		var batch [][]byte
		for _, f := range frames {
			batch = append(batch, []byte(f))
		}
		return "", c.WriteFrames(batch)
	})
}

func (b *lab) startDial(ctx context.Context, from, to string) *pending {
	return b.start(func() (string, error) {
		c, err := b.Node(from).Dial(ctx, transport.Peer{Addr: to})
		if err != nil {
			return "", err
		}
		return "connected", c.CloseWithError(0, "")
	})
}

// A pending call may have ended.
type pending struct{ c chan outcome }

func (b *lab) stillPending(p *pending, what string) {
	b.Helper()
	synctest.Wait()
	select {
	case o := <-p.c:
		b.Fatalf("%s must not end yet, but gave %v", what, o)
	default:
	}
}

// ends waits for the call and checks when it ended.
func (b *lab) ends(p *pending, at time.Duration, what string) outcome {
	b.Helper()
	o := <-p.c
	if o.at != at {
		b.Errorf("%s ended at %v, not at %v: %v", what, o.at, at, o)
	}
	return o
}

// isReset reports whether err is that of a connection which ended abruptly.
func isReset(err error) bool {
	_, closed := errors.AsType[*transport.CloseError](err)
	return err != nil && !errors.Is(err, net.ErrClosed) && !closed
}

const ms = time.Millisecond
