package netstream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// bothWays runs a test with either end of a connection as the first.
func bothWays(t *testing.T, f func(t *testing.T, c *nodes, one, other net.Conn)) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		f(t, c, dialled, accepted)
		dialled, accepted = c.pair()
		f(t, c, accepted, dialled)
	})
}

// TestCloseDelivers expects everything that was written before Close to arrive,
// then a clean end, on whichever side Close is called, and that the other side
// cannot write for ever.
func TestCloseDelivers(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 3000)
	bothWays(t, func(t *testing.T, _ *nodes, one, other net.Conn) {
		write(t, one, text)
		if err := one.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		wantRead(t, other, text)
		wantEOF(t, other)
		var failed error
		lab.Until(t, "Write fails after the other side has closed", func() bool {
			_, failed = other.Write(make([]byte, 1000))
			return failed != nil
		})
		// The dialler's end is over with the handler of the other side, which is cut
		// off where it goes on writing.
		want := io.ErrClosedPipe
		if other.LocalAddr().String() == "node-1" {
			want = context.Canceled
		}
		if !errors.Is(failed, want) || errors.Is(failed, net.ErrClosed) {
			t.Errorf("Write after the other side has closed returned %v, want %v", failed, want)
		}
		if err := other.Close(); err != nil {
			t.Errorf("Close after the other side's returned %v", err)
		}
	})
}

// TestHalfClose expects CloseWrite to be a clean end for the other side, which
// can go on writing, and an end of writing for this one.
func TestHalfClose(t *testing.T) {
	bothWays(t, func(t *testing.T, _ *nodes, one, other net.Conn) {
		write(t, one, "question")
		closer, ok := one.(interface{ CloseWrite() error })
		if !ok {
			t.Fatal("there is no CloseWrite")
		}
		for range 2 {
			if err := closer.CloseWrite(); err != nil {
				t.Errorf("CloseWrite returned %v", err)
			}
		}
		if _, err := one.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after CloseWrite returned %v, want net.ErrClosed", err)
		}
		got, err := io.ReadAll(other)
		if string(got) != "question" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		write(t, other, "answer")
		other.Close()
		got, err = io.ReadAll(one)
		if string(got) != "answer" || err != nil {
			t.Errorf("read %q, %v after CloseWrite", got, err)
		}
	})
}

// TestClosedHere expects everything but Close to fail with net.ErrClosed after
// this side's Close, whatever comes of the stream later, and Close to wake up who
// waits.
func TestClosedHere(t *testing.T) {
	bothWays(t, func(t *testing.T, c *nodes, one, other net.Conn) {
		reading := lab.Go(func() error { _, err := one.Read(make([]byte, 1)); return err })
		writing := lab.Go(func() error { _, err := one.Write(make([]byte, 16<<20)); return err })
		second := lab.Go(func() error { _, err := one.Write(make([]byte, 16<<20)); return err })
		// It has begun to write.
		if _, err := io.ReadFull(other, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := one.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		fails := func(what string, err error) {
			t.Helper()
			if _, ok := errors.AsType[*net.OpError](err); !ok || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v (%T), want a net.OpError that is net.ErrClosed", what, err, err)
			}
		}
		all := func() {
			t.Helper()
			_, err := one.Read(make([]byte, 1))
			fails("Read", err)
			_, err = one.Write([]byte("x"))
			fails("Write", err)
			fails("CloseWrite", one.(interface{ CloseWrite() error }).CloseWrite())
			fails("SetDeadline", one.SetDeadline(time.Now()))
			fails("SetReadDeadline", one.SetReadDeadline(time.Time{}))
			fails("SetWriteDeadline", one.SetWriteDeadline(time.Now().Add(time.Hour)))
			if err := one.Close(); err != nil {
				t.Errorf("a second Close returned %v", err)
			}
		}
		fails("a Read that waited", lab.Wait(t, reading, "Close wakes a reader"))
		fails("a Write that waited", lab.Wait(t, writing, "Close wakes a writer"))
		fails("a Write that waited for its turn", lab.Wait(t, second, "Close wakes a second writer"))
		all()
		c.Cut(0, 1)
		all()
		c.WaitConnected()
	})
}

// TestCutConnection expects the loss of the connection between the nodes to be an
// error on both sides that says so, never a clean end, behind what had arrived on
// the calling side.
func TestCutConnection(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		write(t, accepted, "arrived")
		wantRead(t, dialled, "arriv")
		far := lab.Go(func() error { _, err := io.ReadAll(accepted); return err })
		c.Cut(0, 1)
		got, err := io.ReadAll(dialled)
		if string(got) != "ed" || !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("read %q, %v on the calling side, want what had arrived and ErrDisconnected", got, err)
		}
		if err := lab.Wait(t, far, "the serving side learns of it"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("the serving side read %v, want ErrDisconnected", err)
		}
		for _, conn := range []net.Conn{dialled, accepted} {
			if _, err := conn.Write([]byte("x")); !errors.Is(err, core.ErrDisconnected) || errors.Is(err, net.ErrClosed) {
				t.Errorf("Write returned %v, want ErrDisconnected", err)
			}
		}
	})
}

// TestHandlerError expects the error that a handler returns to come out of Read,
// behind the bytes.
func TestHandlerError(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		noDisk := &core.RemoteError{Code: 1001, Message: "no disk"}
		c := l.Cluster(t, 2, streamOption("fails", func(_ context.Context, _ []byte, s *core.RawStream) error {
			_, err := s.Conn().Write([]byte("bytes"))
			return errors.Join(err, noDisk)
		}))
		conn, err := c.Conn(0, 1).Dial(t.Context(), "fails")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		if string(got) != "bytes" || !errors.Is(err, noDisk) {
			t.Errorf("read %q, %v, want the bytes and then the handler's error", got, err)
		}
	})
}

// TestCallerGivesUp expects a stream whose context ends to be no clean end for the
// handler that reads from its net.Conn.
func TestCallerGivesUp(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, streamOption("reads", func(_ context.Context, _ []byte, s *core.RawStream) error {
			conn := s.Conn()
			if _, err := conn.Write([]byte("ready")); err != nil {
				return err
			}
			_, err := io.ReadAll(conn)
			ended <- err
			return err
		}))
		ctx, cancel := context.WithCancel(t.Context())
		st, err := c.Conn(0, 1).OpenStream(ctx, "reads", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := st.Conn()
		wantRead(t, conn, "ready")
		cancel()
		if err := lab.Wait(t, ended, "the handler learns of it"); !errors.Is(err, context.Canceled) {
			t.Errorf("the handler read %v, want context.Canceled", err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller read %v, want context.Canceled", err)
		}
		conn.Close()
	})
}

// TestCutOff expects an accepted connection whose caller cuts the stream off to
// say so every time, although its handler ends at the same moment.
func TestCutOff(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		rounds := lab.Scale(1000, 300, 30_000)
		// On a busy machine the handlers may return long after their streams have ended.
		c := listen(t, l, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxHandlers = rounds }))
		for range rounds {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), service, nil)
			if err != nil {
				t.Fatal(err)
			}
			accepted := c.accept(1)
			reading := lab.Go(func() error { _, err := accepted.Read(make([]byte, 1)); return err })
			runtime.Gosched()
			st.Close()
			if err := lab.Wait(t, reading, "Read returns"); !errors.Is(err, context.Canceled) {
				t.Fatalf("Read returned %v, want context.Canceled", err)
			}
			if _, err := accepted.Write([]byte("x")); !errors.Is(err, context.Canceled) {
				t.Fatalf("Write returned %v, want context.Canceled", err)
			}
			accepted.Close()
		}
	})
}

// TestCloseGrace expects a closed connection whose other end is left open to be
// cut off after a minute, no earlier, and to hold up Shutdown no longer.
func TestCloseGrace(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2, lab.Configure(func(cfg *core.Config) { cfg.StreamWindow = 1 << 20 }))
		dialled, accepted := c.pair()
		began := time.Now()
		write(t, dialled, "last words")
		dialled.Close()
		time.Sleep(time.Minute - time.Second)
		wantRead(t, accepted, "last ")
		write(t, accepted, "still there?")
		down := lab.Go(func() error { return c.Manager(0).Shutdown(t.Context()) })
		time.Sleep(time.Second + time.Millisecond)
		if _, err := accepted.Write([]byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("after a minute Write returned %v, want context.Canceled", err)
		}
		if _, err := accepted.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("after a minute Read returned %v, want an error", err)
		}
		if err := lab.Wait(t, down, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
		if d := time.Since(began); d > time.Minute+time.Second {
			t.Errorf("Shutdown waited until %v after Close", d)
		}
	})
}

// TestCloseAndCancel expects the end of a stream's context to cut off what Close
// has left to arrive.
func TestCloseAndCancel(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		ctx, cancel := context.WithCancel(t.Context())
		st, err := c.Conn(0, 1).OpenStream(ctx, service, nil)
		if err != nil {
			t.Fatal(err)
		}
		accepted := c.accept(1)
		defer accepted.Close()
		write(t, st.Conn(), "x")
		st.Conn().Close()
		wantRead(t, accepted, "x")
		wantEOF(t, accepted)
		select {
		case <-st.Done():
			t.Error("the stream is over while the other side is open")
		default:
		}
		cancel()
		lab.Wait(t, st.Done(), "the stream ends with its context")
		lab.Until(t, "the other side is cut off", func() bool {
			_, err := accepted.Write([]byte("x"))
			return errors.Is(err, context.Canceled)
		})
	})
}

// TestCloseBothEnds expects nothing to wait once both ends are closed.
func TestCloseBothEnds(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		dialled.Close()
		wantEOF(t, accepted)
		accepted.Close()
		began := time.Now()
		for i := range 2 {
			if err := c.Manager(i).Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown returned %v", err)
			}
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("Shutdown took %v, want it to wait for nothing", d)
		}
	})
}

// TestCloseEndlessWriter expects who writes on and on to a closed connection to
// get an error soon, and not after a minute.
func TestCloseEndlessWriter(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		writing := lab.Go(func() error {
			_, err := io.Copy(accepted, endless{})
			return err
		})
		if _, err := io.ReadFull(dialled, make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		dialled.Close()
		if err := lab.Wait(t, writing, "the writer gets an error"); !errors.Is(err, context.Canceled) {
			t.Errorf("the writer got %v, want context.Canceled", err)
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("the writer got its error after %v", d)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestCloseSlowPeer expects what was written before Close to reach a peer that
// has something to write itself before it reads.
func TestCloseSlowPeer(t *testing.T) {
	text := strings.Repeat("x", 60_000)
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		write(t, dialled, text)
		dialled.Close()
		time.Sleep(30 * time.Second)
		write(t, accepted, "a banner that nobody reads")
		synctest.Wait()
		wantRead(t, accepted, text)
		wantEOF(t, accepted)
		accepted.Close()
	})
}

// TestReadDeadlineAfterEnd expects a deadline to hold also when nothing comes any
// more, as net does.
func TestReadDeadlineAfterEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, _ *nodes, one, other net.Conn) {
		one.Close()
		wantEOF(t, other)
		if err := other.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read returned %v", err)
		}
		if err := other.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		wantEOF(t, other)
		other.Close()
	})
}

// TestReadAfterReturn expects who reads beside the handler to never take its
// return for a clean end of the input.
func TestReadAfterReturn(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		ends := make(chan error, 1)
		c := l.Cluster(t, 2, streamOption("returns", func(_ context.Context, _ []byte, s *core.RawStream) error {
			go func() {
				_, err := io.ReadAll(s.Conn())
				ends <- err
			}()
			time.Sleep(time.Nanosecond) // until it waits
			return nil
		}))
		for range lab.Scale(3000, 1000, 30_000) {
			st, err := c.Conn(0, 1).OpenStream(t.Context(), "returns", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := lab.Wait(t, ends, "reading ends"); err == nil {
				t.Fatal("a clean end was read that the caller never sent")
			}
			st.Close()
		}
	})
}
