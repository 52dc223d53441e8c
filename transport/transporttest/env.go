package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
)

const (
	// patience is how long anything that has to happen may take. It only ever
	// passes when a test fails.
	patience = 20 * time.Second
	// closeTime is how long CloseWithError may take.
	closeTime = time.Second
	// schedulingSlack is added to it where the time is not virtual, for a
	// machine that is busy with other things.
	schedulingSlack = time.Second
	// largestFrame bounds the frames of the suite, whatever the transport can
	// do: 1 MiB.
	largestFrame = 1 << 20
	// largestRefused bounds the frame over MaxFrame that the suite makes.
	largestRefused = 1 << 28
	// flood is more than any link holds by itself: a write of so many bytes
	// cannot end unless somebody reads.
	flood = 32 << 20
	// maxLimit is a limit for ReadFrame that no frame of the suite reaches.
	maxLimit = 1 << 30
)

// env is what a subtest works with.
type env struct {
	*testing.T
	Fixture
	bubble bool
	shared transport.Listener // made by listener
}

// start runs f in a goroutine; the result is to be collected with wait.
func start[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// wait returns what comes on c. It fails the test with rule, which says what
// ought to have happened, if nothing comes.
func wait[T any](e *env, c <-chan T, rule string) T {
	e.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var v T
	select {
	case v = <-c:
	case <-timer.C:
		e.Fatalf("%s: nothing happened for %v", rule, patience)
	}
	return v
}

// check fails the test with rule if err, which says how it was broken, is not
// nil.
func (e *env) check(rule string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", rule, err)
	}
}

// settle lets what other goroutines can do by themselves happen. Outside a
// bubble it is no more than a chance: the rules hold in either order.
func (e *env) settle() {
	if e.bubble {
		synctest.Wait()
	}
}

// listener returns the one listener of the subtest.
func (e *env) listener() transport.Listener {
	e.Helper()
	if e.shared == nil {
		e.shared = e.listen(e.Addr)
	}
	return e.shared
}

func (e *env) listen(addr string) transport.Listener {
	e.Helper()
	l, err := e.Listener.Listen(context.Background(), addr)
	e.check("Listen succeeds on an address that is free", err)
	e.Cleanup(func() { e.closeListener(l) })
	return l
}

func (e *env) closeListener(l transport.Listener) {
	e.Helper()
	_ = wait(e, start(l.Close), "Close of a listener returns, the second one too")
}

func (e *env) peerAt(l transport.Listener) transport.Peer {
	p := e.Peer
	if p.Addr == "" {
		p.Addr = l.Addr().String()
	}
	return p
}

type connResult struct {
	conn transport.Conn
	err  error
}

func (e *env) startDial(ctx context.Context, to transport.Peer) <-chan connResult {
	return start(func() connResult {
		c, err := e.Dialer.Dial(ctx, to)
		return connResult{c, err}
	})
}

func startAccept(ctx context.Context, l transport.Listener) <-chan connResult {
	return start(func() connResult {
		c, err := l.Accept(ctx)
		return connResult{c, err}
	})
}

func (e *env) dial(l transport.Listener) transport.Conn {
	e.Helper()
	r := wait(e, e.startDial(context.Background(), e.peerAt(l)), "Dial of a listener returns")
	e.check("Dial of a listener succeeds", r.err)
	e.closeAtEnd(r.conn)
	return r.conn
}

func (e *env) accept(l transport.Listener) transport.Conn {
	e.Helper()
	r := wait(e, startAccept(context.Background(), l), "Accept returns a connection that was dialled")
	e.check("Accept succeeds while the listener is open", r.err)
	e.closeAtEnd(r.conn)
	return r.conn
}

func (e *env) closeAtEnd(c transport.Conn) {
	e.Cleanup(func() { e.close(c, 0, "") })
}

// connect makes a connection over l.
func (e *env) connect(l transport.Listener) (dialled, accepted transport.Conn) {
	e.Helper()
	dialled = e.dial(l)
	return dialled, e.accept(l)
}

// eachWay runs f twice with a connection of its own: near is first the end that
// dialled, then the one that was accepted.
func (e *env) eachWay(f func(near, far transport.Conn)) {
	e.Helper()
	l := e.listener()
	dialled, accepted := e.connect(l)
	f(dialled, accepted)
	dialled, accepted = e.connect(l)
	f(accepted, dialled)
}

// close closes c and holds CloseWithError to what it must do in any case.
func (e *env) close(c transport.Conn, code uint32, reason string) {
	e.Helper()
	limit := closeTime
	if !e.bubble {
		limit += schedulingSlack
	}
	began := time.Now()
	err := wait(e, start(func() error { return c.CloseWithError(code, reason) }), "CloseWithError returns")
	if d := time.Since(began); d > limit {
		e.Errorf("CloseWithError returns within a second, whatever the peer does: it took %v", d)
	}
	if err != nil {
		e.Errorf("CloseWithError returns nil unless releasing the link failed: %v", err)
	}
}

// noise is what frames are filled from: in slices, because the race detector
// makes a loop over the bytes slow.
var noise = func() (b [1 << 16]byte) {
	for i := range b {
		b[i] = byte(i + i>>8)
	}
	return b
}()

// pattern returns the content of frame number n, which begins with n if it is
// long enough.
func pattern(n, size int) []byte {
	b := make([]byte, size)
	for filled := 0; filled < size; {
		filled += copy(b[filled:], noise[(n+filled)%len(noise):])
	}
	if size >= 8 {
		binary.BigEndian.PutUint64(b, uint64(n))
	}
	return b
}

var scribbles = bytes.Repeat([]byte{0xff}, 1<<16)

// scribble overwrites b.
func scribble(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, scribbles):]
	}
}

// outgoing returns payload as WriteFrames takes it. The headroom is filled: a
// transport must not expect zeros there.
func outgoing(c transport.Conn, payload []byte) []byte {
	b := bytes.Repeat([]byte{0xa5}, c.Info().Headroom)
	return append(b, payload...)
}

// write sends payloads as one batch.
func write(c transport.Conn, payloads ...[]byte) error {
	frames := make([][]byte, len(payloads))
	for i, p := range payloads {
		frames[i] = outgoing(c, p)
	}
	return c.WriteFrames(frames)
}

// read reads a frame and compares it.
func read(c transport.Conn, want []byte) error {
	got, err := c.ReadFrame(maxLimit)
	if err != nil {
		return fmt.Errorf("reading a frame of %d bytes: %w", len(want), err)
	}
	return compare(got, want)
}

func compare(got, want []byte) error {
	switch {
	case len(got) != len(want):
		return fmt.Errorf("a frame of %d bytes arrived with %d", len(want), len(got))
	case !bytes.Equal(got, want):
		i := 0
		for got[i] == want[i] {
			i++
		}
		return fmt.Errorf("a frame of %d bytes arrived changed from byte %d on", len(want), i)
	}
	return nil
}

// exchange checks that the connection carries a frame each way.
func (e *env) exchange(rule string, near, far transport.Conn) {
	e.Helper()
	e.exchangeOneWay(rule, near, far)
	e.exchangeOneWay(rule, far, near)
}

func (e *env) exchangeOneWay(rule string, from, to transport.Conn) {
	e.Helper()
	want := pattern(7, 100)
	written := start(func() error { return write(from, want) })
	e.check(rule, wait(e, start(func() error { return read(to, want) }), rule))
	e.check(rule, wait(e, written, rule))
}

// startRead reads a frame, for the error.
func startRead(c transport.Conn) <-chan error {
	return start(func() error {
		f, err := c.ReadFrame(maxLimit)
		if err == nil {
			return fmt.Errorf("unexpected: %w of %d bytes", errFrame, len(f))
		}
		return err
	})
}

var errFrame = errors.New("a frame")

// startFlood writes more than the link holds and returns when the write has
// begun, so that it is blocked or soon will be. The result is what WriteFrames
// returned.
func (e *env) startFlood(from, to transport.Conn) <-chan error {
	e.Helper()
	size := min(from.Info().MaxFrame, largestFrame)
	frames := make([][]byte, 0, flood/size+1)
	for sent := 0; sent < flood; sent += size {
		frames = append(frames, make([]byte, from.Info().Headroom+size))
	}
	written := start(func() error { return from.WriteFrames(frames) })
	begun := wait(e, start(func() error { _, err := to.ReadFrame(maxLimit); return err }),
		"a frame arrives while the batch it belongs to is being written")
	e.check("the beginning of a large batch arrives", begun)
	e.settle()
	select {
	case err := <-written:
		e.Fatalf("WriteFrames blocks while the link takes no more: it took %d bytes that nobody reads, error %v", flood, err)
	default:
	}
	return written
}

// wantClosed checks an error after CloseWithError on the same side.
func (e *env) wantClosed(rule string, err error) {
	e.Helper()
	if !errors.Is(err, net.ErrClosed) {
		e.Errorf("%s: the error must match net.ErrClosed, got %v", rule, err)
	}
}

// wantPeerClose checks an error of ReadFrame after CloseWithError on the other
// side.
func (e *env) wantPeerClose(rule string, err error, code uint32, reason string) {
	e.Helper()
	ce, ok := errors.AsType[*transport.CloseError](err)
	switch {
	case !ok:
		e.Errorf("%s: the error must be a *transport.CloseError, got %v", rule, err)
	case ce.Code != code || ce.Reason != reason:
		e.Errorf("%s: code %d and reason %q became code %d and reason %q", rule, code, reason, ce.Code, ce.Reason)
	}
	e.wantForeign(rule, err)
}

// wantForeign checks an error that this side's CloseWithError did not cause.
func (e *env) wantForeign(rule string, err error) {
	e.Helper()
	switch {
	case err == nil:
		e.Errorf("%s: there must be an error", rule)
	case errors.Is(err, errFrame):
		e.Errorf("%s: %v", rule, err)
	case errors.Is(err, net.ErrClosed):
		e.Errorf("%s: only CloseWithError on the same side gives net.ErrClosed, got %v", rule, err)
	case err == io.EOF: //nolint:errorlint // a wrapped io.EOF is allowed
		e.Errorf("%s: io.EOF is never returned bare", rule)
	}
}

// wantAbrupt checks an error after the link has failed.
func (e *env) wantAbrupt(rule string, err error) {
	e.Helper()
	e.wantForeign(rule, err)
	if ce, ok := errors.AsType[*transport.CloseError](err); ok {
		e.Errorf("%s: nobody closed, yet the error is the peer's %v", rule, ce)
	}
}

// writeUntilError writes until WriteFrames fails, as it must some time after
// the other end has gone.
func (e *env) writeUntilError(rule string, c transport.Conn) error {
	e.Helper()
	payload := make([]byte, min(c.Info().MaxFrame, largestFrame))
	return wait(e, start(func() error {
		for sent := 0; sent < 4*flood; sent += len(payload) {
			if err := write(c, payload); err != nil {
				return err
			}
		}
		return nil
	}), rule)
}

// closedOrPeer reports whether err is what a side sees that closed itself while
// the other did so with code and reason.
func closedOrPeer(err error, code uint32, reason string) bool {
	if ce, ok := errors.AsType[*transport.CloseError](err); ok {
		return ce.Code == code && ce.Reason == reason
	}
	return errors.Is(err, net.ErrClosed)
}
