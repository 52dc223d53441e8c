package transporttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// wantContext checks the error of a call whose context has ended.
func (e *env) wantContext(ctx context.Context, rule string, err error) {
	e.Helper()
	if !errors.Is(err, ctx.Err()) && !errors.Is(err, context.Cause(ctx)) {
		e.Errorf("%s: the error is the context's, or its cause: got %v", rule, err)
	}
}

func testAcceptContext(e *env) {
	rule := "Accept returns when its context ends"
	l := e.listener()

	ctx, cancel := context.WithCancel(context.Background())
	accepting := startAccept(ctx, l)
	e.settle()
	cancel()
	e.wantContext(ctx, rule, wait(e, accepting, rule).err)
	e.wantContext(ctx, rule, wait(e, startAccept(ctx, l), rule).err)

	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	e.wantContext(ctx, rule, wait(e, startAccept(ctx, l), rule).err)

	dialled, accepted := e.connect(l)
	e.exchange("the listener works on after the context of an Accept has ended", dialled, accepted)
}

// testAcceptContextRace ends the context of Accept around the time at which a
// connection arrives.
func testAcceptContextRace(e *env) {
	rule := "an Accept whose context ends does not lose a connection"
	l := e.listener()
	for n := range 60 {
		ctx, cancel := context.WithCancel(context.Background())
		accepting := startAccept(ctx, l)
		if n%3 == 0 {
			e.settle()
			cancel()
		}
		dialling := e.startDial(context.Background(), e.peerAt(l))
		if n%3 == 1 {
			cancel()
		}
		dialled := wait(e, dialling, rule)
		cancel()
		e.settle()
		e.check("Dial of a listener succeeds", dialled.err)
		accepted := wait(e, accepting, "Accept returns when its context ends")
		if accepted.err != nil {
			e.wantContext(ctx, rule, accepted.err)
			accepted = wait(e, startAccept(context.Background(), l), rule)
			e.check(rule, accepted.err)
		}
		e.exchange(rule, dialled.conn, accepted.conn)
		e.close(dialled.conn, 0, "")
		e.close(accepted.conn, 0, "")
	}
}

func testAcceptIgnoresStrays(e *env) {
	rule := "a client that does not complete its handshake neither delays nor fails Accept"
	l := e.listener()
	accepting := startAccept(context.Background(), l)
	for range 3 {
		e.Stray(l.Addr().String())
	}
	e.settle()
	dialled := e.dial(l)
	accepted := wait(e, accepting, rule)
	e.check(rule, accepted.err)
	e.closeAtEnd(accepted.conn)
	e.exchange(rule, dialled, accepted.conn)
	e.Stray(l.Addr().String())
	dialled, again := e.connect(l)
	e.exchange(rule, dialled, again)
	rule = "Close of a listener waits for no handshake"
	wait(e, start(l.Close), rule)
}

func testAcceptAfterClose(e *env) {
	rule := "Accept after Close fails"
	l := e.listener()
	e.closeListener(l)
	for range 3 {
		e.wantClosed(rule, wait(e, startAccept(context.Background(), l), rule).err)
	}
}

func testListenerCloseUnblocksAccept(e *env) {
	rule := "Close of a listener makes every Accept return"
	l := e.listener()
	var accepting []<-chan connResult
	for range 4 {
		accepting = append(accepting, startAccept(context.Background(), l))
	}
	e.settle()
	e.closeListener(l)
	for _, a := range accepting {
		e.wantClosed(rule, wait(e, a, rule).err)
	}
}

func testListenerCloses(e *env) {
	rule := "Close of a listener may be called any number of times, from any goroutine"
	l := e.listener()
	dialled, accepted := e.connect(l)
	e.exchange("a connection carries frames both ways", dialled, accepted)
	var closing []<-chan error
	for range 8 {
		closing = append(closing, start(l.Close))
	}
	for _, c := range closing {
		wait(e, c, rule)
	}
	wait(e, start(l.Close), rule)
	e.wantClosed(rule, wait(e, startAccept(context.Background(), l), rule).err)
}

func testAcceptedOutliveListener(e *env) {
	rule := "accepted connections live on after Close of the listener"
	l := e.listener()
	near, far := e.connect(l)
	idle, idleFar := e.connect(l)
	reading := startRead(far)
	e.settle()
	e.closeListener(l)
	e.settle()
	for range 20 {
		e.exchangeOneWay(rule, far, near)
		e.exchange(rule, idle, idleFar)
	}
	e.close(near, 4, "later")
	e.wantPeerClose(rule, wait(e, reading, rule), 4, "later")
}

func testUnacceptedAreClosed(e *env) {
	rule := "Close of a listener closes connections that nobody accepted"
	l := e.listener()
	dialled := []transport.Conn{e.dial(l), e.dial(l)}
	reading := startRead(dialled[0])
	e.settle()
	e.closeListener(l)
	e.wantForeign(rule, wait(e, reading, rule))
	e.wantForeign(rule, wait(e, startRead(dialled[1]), rule))
	e.wantForeign(rule, e.writeUntilError(rule, dialled[0]))
}

// testManyConnections dials and accepts many connections at once. Each carries
// its number, to tell which accepted one belongs to which dialled one.
func testManyConnections(e *env) {
	const conns = 50
	rule := "many connections can be made at once, each with its own peer"
	l := e.listener()
	to := e.peerAt(l)
	var done []<-chan error
	for n := range conns {
		done = append(done, start(func() error {
			c, err := e.Dialer.Dial(context.Background(), to)
			if err != nil {
				return err
			}
			e.closeAtEnd(c)
			if err := write(c, pattern(n, 100+n)); err != nil {
				return err
			}
			if err := read(c, pattern(n+1000, 10+n)); err != nil {
				return fmt.Errorf("the answer on connection %d: %w", n, err)
			}
			return nil
		}), start(func() error {
			c, err := l.Accept(context.Background())
			if err != nil {
				return err
			}
			e.closeAtEnd(c)
			f, err := c.ReadFrame(maxLimit)
			if err != nil {
				return err
			}
			if len(f) < 8 {
				return fmt.Errorf("a first frame of %d bytes arrived", len(f))
			}
			n := int(binary.BigEndian.Uint64(f))
			if err := compare(f, pattern(n, 100+n)); err != nil {
				return err
			}
			return write(c, pattern(n+1000, 10+n))
		}))
	}
	for _, d := range done {
		e.check(rule, wait(e, d, rule))
	}
}
