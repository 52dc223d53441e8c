package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
)

func TestDataArrivesInOrderThroughASmallBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(memnet.WithBuffer(7))
		want := make([]byte, 10_000)
		for i := range want {
			want[i] = byte(i * 31)
		}
		go func() {
			for p := want; len(p) > 0; {
				n, err := a.Write(p[:min(len(p), 13)])
				if err != nil {
					t.Errorf("write: %v", err)
				}
				p = p[n:]
			}
			a.CloseWrite()
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(want))
		}
		if _, err := b.Write([]byte("back")); err != nil {
			t.Fatalf("the other direction ended with the first: %v", err)
		}
	})
}

func TestWriteReturnsBeforeTheOtherEndReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		if n, err := a.Write(make([]byte, memnet.DefaultBuffer)); n != memnet.DefaultBuffer || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		if got := b.Buffered(); got != memnet.DefaultBuffer {
			t.Errorf("Buffered() = %d, want %d", got, memnet.DefaultBuffer)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write to a full buffer: %d, %v; want a deadline error", n, err)
		}
	})
}

func TestPeerCloseIsEOFForReadsAndAResetForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		a.Write([]byte("last words"))
		a.Close()
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("write after the peer closed: %v, want a reset", err)
		}
	})
}

func TestCloseUnblocksBothEnds(t *testing.T) {
	for _, peer := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := memnet.Pipe(memnet.WithBuffer(1))
			var wg sync.WaitGroup
			var readErr, writeErr error
			wg.Go(func() { _, readErr = a.Read(make([]byte, 1)) })
			wg.Go(func() { _, writeErr = a.Write(make([]byte, 2)) })
			synctest.Wait()
			if peer {
				b.Close()
			} else {
				a.Close()
			}
			wg.Wait()
			if peer {
				if readErr != io.EOF {
					t.Errorf("read after the peer's close: %v, want io.EOF", readErr)
				}
				if writeErr == nil || errors.Is(writeErr, net.ErrClosed) {
					t.Errorf("write after the peer's close: %v, want a reset", writeErr)
				}
				return
			}
			if !errors.Is(readErr, net.ErrClosed) || !errors.Is(writeErr, net.ErrClosed) {
				t.Errorf("after a local close: read %v, write %v; want net.ErrClosed", readErr, writeErr)
			}
			if err := a.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("second Close: %v, want net.ErrClosed", err)
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v, want a deadline error", err)
		}
		if got := time.Since(start); got != time.Hour {
			t.Errorf("read returned after %v, want 1h", got)
		}
		_, err := a.Read(make([]byte, 1))
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("a deadline error must say Timeout: %v", err)
		}
		// A new deadline revives the direction, and one in the past interrupts
		// a read in progress.
		a.SetReadDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		a.SetReadDeadline(time.Unix(1, 0))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("interrupted read: %v", err)
		}
		a.SetDeadline(time.Now().Add(time.Minute))
		a.SetDeadline(time.Time{})
		time.Sleep(time.Hour)
		b.Write([]byte("x"))
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Errorf("read after the deadline was lifted: %v", err)
		}
	})
}

func TestStallReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(memnet.WithBuffer(4))
		b.StallReads(true)
		done := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(b, make([]byte, 8))
			done <- err
		}()
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 8))
		if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write towards a stalled reader: %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		b.StallReads(false)
		if _, err := a.Write(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nw memnet.Network
		l, err := nw.Listen("a:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nw.Listen("a:1"); err == nil {
			t.Error("one address listened on twice")
		}
		c, err := nw.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.RemoteAddr().String() != "a:1" || s.LocalAddr().String() != "a:1" || s.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("addresses: %v %v %v %v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}

		pending, err := nw.DialContext(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			l.Close()
		}()
		accepted, _ := l.Accept()
		accepted.Close()
		if _, err := pending.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		if _, err := nw.DialContext(t.Context(), "tcp", "a:1"); err == nil {
			t.Error("dial after Close succeeded")
		}
		if _, err := nw.Listen("a:1"); err != nil {
			t.Errorf("the address is not free after Close: %v", err)
		}
	})
}

func TestDialWaitsForAFullQueueWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for range 1000 {
			if _, err = l.DialContext(ctx, "", ""); err != nil {
				break
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial into a full queue: %v", err)
		}
		l.Close()
	})
}

// TestDialFrom expects the accepting end to see the address that was given.
func TestDialFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("a:1")
		defer l.Close()
		c, err := l.DialFrom(t.Context(), "10.0.0.1:2")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := s.RemoteAddr().String(); got != "10.0.0.1:2" || c.LocalAddr().String() != got {
			t.Errorf("RemoteAddr() = %q, LocalAddr() of the other end = %q, want 10.0.0.1:2", got, c.LocalAddr())
		}
	})
}
