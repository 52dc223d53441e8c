package memnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
)

// readAt reads once and returns what came, and when.
func readAt(t *testing.T, c *memnet.Conn, began time.Time) (string, time.Duration, error) {
	t.Helper()
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), time.Since(began), err
}

// TestDelay expects bytes and the end behind them to arrive in order, after their
// delays, and the writer to learn that nobody reads when that news has arrived.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		delays := map[int]time.Duration{4: 5 * time.Second, 2: time.Second, 0: 7 * time.Second}
		a.SetDelay(func(n int) time.Duration { return delays[n] })
		began := time.Now()
		a.Write([]byte("slow"))
		a.Write([]byte("go"))
		synctest.Wait()
		if n := b.Buffered(); n != 0 {
			t.Errorf("%d bytes arrive at once", n)
		}
		if got, at, err := readAt(t, b, began); got != "slowgo" || at != 5*time.Second || err != nil {
			t.Errorf("read %q, %v after %v; want both after 5 s, in order", got, err, at)
		}
		a.Close() // at 5 s
		if _, err := b.Write([]byte("into the void")); err != nil {
			t.Errorf("a write before the news of the close has arrived: %v", err)
		}
		if _, at, err := readAt(t, b, began); !errors.Is(err, io.EOF) || at != 12*time.Second {
			t.Errorf("the end: %v after %v, want EOF after 12 s", err, at)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("a write behind the news of the close does not fail")
		}
	})
}

// TestHold expects nothing to arrive of what is held, and everything when it is let
// go, what is under way after its time.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(memnet.WithBuffer(8))
		a.SetDelay(func(int) time.Duration { return 3 * time.Second })
		began := time.Now()
		a.Write([]byte("under way"[:5]))
		time.Sleep(time.Second)
		a.Hold(true)
		time.Sleep(8 * time.Second) // to 9 s
		a.Write([]byte("new"))
		time.Sleep(time.Second) // to 10 s
		synctest.Wait()
		if n := b.Buffered(); n != 0 {
			t.Errorf("%d bytes arrive although they are held", n)
		}
		a.SetWriteDeadline(time.Now())
		if n, err := a.Write([]byte("x")); n != 0 || err == nil {
			t.Errorf("a write beyond the buffer took %d bytes, %v", n, err)
		}
		a.Hold(false)
		if got, at, err := readAt(t, b, began); got != "under" || at != 10*time.Second || err != nil {
			t.Errorf("read %q, %v after %v; want the first five bytes after 10 s", got, err, at)
		}
		if got, at, err := readAt(t, b, began); got != "new" || at != 12*time.Second || err != nil {
			t.Errorf("read %q, %v after %v; want the rest after 12 s", got, err, at)
		}
	})
}

// TestReset expects both ends to fail at once, and what was not read to be lost.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		a.Write([]byte("lost"))
		waiting := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			waiting <- err
		}()
		synctest.Wait()
		b.Reset()
		if err := <-waiting; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("a read in progress ends with %v", err)
		}
		for _, c := range []*memnet.Conn{a, b} {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.EOF) {
				t.Errorf("a read behind the reset: %d, %v", n, err)
			}
			if _, err := c.Write([]byte("x")); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("a write behind the reset: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
	})
}

// TestTakeAll expects a write that waits for the other end to go on, and all of it to
// arrive, from wherever the buffer began.
func TestTakeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(memnet.WithBuffer(5))
		want := make([]byte, 1000)
		for i := range want {
			want[i] = byte(i)
		}
		a.Write(want[:3])
		io.ReadFull(b, make([]byte, 3))
		done := make(chan error, 1)
		go func() {
			_, err := a.Write(want)
			done <- err
		}()
		synctest.Wait()
		if n := b.Buffered(); n != 5 {
			t.Fatalf("%d bytes are in a buffer of five", n)
		}
		b.TakeAll()
		if err := <-done; err != nil {
			t.Error(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("something else arrives than was sent: %v", err)
		}
	})
}
