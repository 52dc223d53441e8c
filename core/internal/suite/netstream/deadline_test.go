package netstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// inBubbleWays is bothWays for tests of times.
func inBubbleWays(t *testing.T, f func(t *testing.T, one, other net.Conn)) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		f(t, dialled, accepted)
		dialled, accepted = c.pair()
		f(t, accepted, dialled)
	})
}

func wantExpired(t *testing.T, what string, err error) {
	t.Helper()
	timeout, ok := err.(net.Error)
	if !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v (%T), want a net.Error that is os.ErrDeadlineExceeded", what, err, err)
	}
}

// TestReadDeadline expects Read to fail at its deadline, to the nanosecond, and
// to go on with a new one, nothing being lost; writing is not affected.
func TestReadDeadline(t *testing.T) {
	inBubbleWays(t, func(t *testing.T, one, other net.Conn) {
		deadline := time.Now().Add(3 * time.Second)
		if err := one.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := one.Read(make([]byte, 1))
			wantExpired(t, "Read", err)
			if !time.Now().Equal(deadline) {
				t.Errorf("Read returned at %v, want %v", time.Now(), deadline)
			}
		}
		write(t, one, "writing goes on")
		wantRead(t, other, "writing goes on")

		// Past its time it does not take what is there either.
		write(t, other, "here")
		synctest.Wait()
		_, err := one.Read(make([]byte, 1))
		wantExpired(t, "Read with something there", err)
		if err := one.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		wantRead(t, one, "here")
	})
}

// TestDeadlineMoves expects the deadline to count that was set last, also for who
// waits already.
func TestDeadlineMoves(t *testing.T) {
	inBubbleWays(t, func(t *testing.T, one, other net.Conn) {
		began := time.Now()
		set := func(d time.Duration) {
			if err := one.SetDeadline(began.Add(d)); err != nil {
				t.Error(err)
			}
		}
		set(time.Second)
		readers := make(chan error)
		for range 3 {
			go func() {
				_, err := one.Read(make([]byte, 1))
				readers <- err
			}()
		}
		synctest.Wait()
		set(5 * time.Second)
		time.Sleep(2 * time.Second)
		set(3 * time.Second)
		for range 3 {
			wantExpired(t, "a reader", <-readers)
			if d := time.Since(began); d != 3*time.Second {
				t.Errorf("a reader returned after %v, want 3 s", d)
			}
		}
		if err := one.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		reading := lab.Go(func() error { _, err := one.Read(make([]byte, 1)); return err })
		time.Sleep(time.Hour)
		write(t, other, "x")
		if err := lab.Wait(t, reading, "Read returns"); err != nil {
			t.Errorf("without a deadline Read returned %v", err)
		}

		// One that is over when it is set wakes up who waits.
		go func() { _, err := one.Read(make([]byte, 1)); readers <- err }()
		synctest.Wait()
		set(-time.Second)
		wantExpired(t, "a reader", <-readers)
	})
}

// TestDeadlineSetAsItPasses expects a deadline that is set at the very moment at
// which the one before passes to count all the same.
func TestDeadlineSetAsItPasses(t *testing.T) {
	inBubbleWays(t, func(t *testing.T, one, other net.Conn) {
		for range lab.Scale(3000, 500, 50_000) {
			if err := one.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if err := one.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			write(t, other, "x")
			wantRead(t, one, "x")
		}
	})
}

// TestWriteDeadline expects Write to the slow to fail at its deadline and to say
// how much is on its way: what comes after it completes the text.
func TestWriteDeadline(t *testing.T) {
	inBubbleWays(t, func(t *testing.T, one, other net.Conn) {
		text := lab.Pattern(1, 3<<20)
		deadline := time.Now().Add(time.Second)
		if err := one.SetWriteDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		n, err := one.Write(text)
		wantExpired(t, "Write", err)
		if n == 0 || n >= len(text) || !time.Now().Equal(deadline) {
			t.Errorf("Write returned %d at %v, want a part of %d at %v", n, time.Now(), len(text), deadline)
		}
		m, err := one.Write(text)
		wantExpired(t, "a second Write", err)
		if m != 0 {
			t.Errorf("a Write after the deadline wrote %d bytes", m)
		}
		reading := lab.Go(func() []byte {
			got, err := io.ReadAll(other)
			if err != nil {
				t.Errorf("read %v", err)
			}
			return got
		})
		if err := one.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Write(text[n:]); err != nil {
			t.Errorf("Write returned %v", err)
		}
		one.Close()
		if got := lab.Wait(t, reading, "all is read"); !bytes.Equal(got, text) {
			t.Errorf("%d bytes arrived, not those that were written", len(got))
		}
		other.Close()
	})
}

// TestDeadlineOfMessages expects the deadlines of the net.Conn to hold for Send
// and Recv of its stream.
func TestDeadlineOfMessages(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 1)
		c := l.Cluster(t, 2, streamOption("idle", func(ctx context.Context, _ []byte, _ *core.RawStream) error {
			_, err := g.HandleContext(ctx, nil)
			return err
		}, core.WithCapacity(1, 1)))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "idle", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Conn().SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := st.Send([]byte("fits")); err != nil {
			t.Fatal(err)
		}
		receiving := lab.Go(func() error { _, err := st.Recv(nil); return err })
		began := time.Now()
		if err := st.Send([]byte("waits")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Send returned %v", err)
		}
		if err := lab.Wait(t, receiving, "Recv returns"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Recv returned %v", err)
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("they returned after %v", d)
		}
	})
}
