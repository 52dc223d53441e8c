package backlog_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/backlog"
)

// end is a connection that only ends.
type end struct {
	transport.Conn
	code uint32
}

func (e *end) CloseWithError(code uint32, _ string) error {
	e.code = code
	return nil
}

// TestPlaces expects 128 places, which are free again when a connection is accepted
// or does not come.
func TestPlaces(t *testing.T) {
	q := backlog.New[*end]("link")
	for range 128 {
		if !q.Reserve() {
			t.Fatal("there are fewer places")
		}
	}
	if q.Reserve() {
		t.Error("there are more places")
	}
	q.Release()
	want := new(end)
	if !q.Reserve() || q.Reserve() || !q.Deliver(want) {
		t.Error("the place of a connection that did not come is not free")
	}
	if got, err := q.Accept(t.Context()); got != want || err != nil {
		t.Errorf("accepted %v, %v", got, err)
	}
	if !q.Reserve() || q.Reserve() {
		t.Error("the place of a connection that was accepted is not free")
	}
}

// TestEnds expects Accept to end with its context, the failure of the listener, or
// Close, which comes before the failure; nobody to enter afterwards; and what is in
// the queue to be closed, before a second Close returns.
func TestEnds(t *testing.T) {
	errBroken := errors.New("broken")
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q := backlog.New[*end]("link")
			left := new(end)
			if !q.Reserve() || !q.Deliver(left) || !q.Reserve() {
				t.Fatal("no place")
			}
			if got, err := q.Accept(t.Context()); got != left || err != nil {
				t.Errorf("accepted %v, %v", got, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			accepting := make(chan error)
			accept := func() {
				_, err := q.Accept(ctx)
				accepting <- err
			}
			go accept()
			cancel()
			if err := <-accepting; !errors.Is(err, context.Canceled) {
				t.Errorf("its context ended: %v", err)
			}

			ctx = t.Context()
			go accept()
			synctest.Wait()
			if fails {
				q.Fail(errBroken)
				if err := <-accepting; !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "link: ") {
					t.Errorf("the listener failed: %v", err)
				}
			}
			if !q.Close() {
				t.Error("this was not the first Close")
			}
			if !fails {
				if err := <-accepting; !errors.Is(err, net.ErrClosed) {
					t.Errorf("the listener was closed: %v", err)
				}
			}
			if _, err := q.Accept(ctx); !errors.Is(err, net.ErrClosed) || errors.Is(err, errBroken) {
				t.Errorf("after Close: %v", err)
			}
			if q.Reserve() || q.Deliver(new(end)) {
				t.Error("a connection entered after the end")
			}
			again := make(chan bool, 1)
			go func() { again <- q.Close() }()
			synctest.Wait()
			if len(again) > 0 {
				t.Error("a second Close does not wait for the first one")
			}
			q.Drain(7)
			q.Finish()
			if <-again {
				t.Error("two Closes were the first")
			}
		})
	}
}

// TestDrain expects connections that nobody has accepted to be closed.
func TestDrain(t *testing.T) {
	q := backlog.New[*end]("link")
	var waiting []*end
	for range 3 {
		c := new(end)
		waiting = append(waiting, c)
		if !q.Reserve() || !q.Deliver(c) {
			t.Fatal("no place")
		}
	}
	q.Close()
	q.Drain(7)
	q.Finish()
	for i, c := range waiting {
		if c.code != 7 {
			t.Errorf("connection %d was closed with %d", i, c.code)
		}
	}
}
