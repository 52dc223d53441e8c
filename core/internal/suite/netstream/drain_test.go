package netstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestDrain expects Shutdown to wait for open connections, to let them finish and
// to take no new ones, on either side.
func TestDrain(t *testing.T) {
	for node, name := range []string{"the dialler", "the listener"} {
		t.Run(name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				c := listen(t, l, 2)
				dialled, accepted := c.pair()
				down := lab.Go(func() error { return c.Manager(node).Shutdown(t.Context()) })
				lab.Until(t, "the node drains", func() bool {
					_, err := c.Conn(0, 1).Request(t.Context(), "echo", nil)
					return err != nil
				})
				conn, err := c.Conn(0, 1).Dial(t.Context(), service)
				if err == nil {
					err = readError(t, conn) // the other node was asked, and refused
				}
				lab.WantText(t, "a new connection", err, "draining")
				for range 3 {
					write(t, dialled, "question")
					wantRead(t, accepted, "question")
					write(t, accepted, "answer")
					wantRead(t, dialled, "answer")
				}
				select {
				case err := <-down:
					t.Errorf("Shutdown returned %v beside an open connection", err)
				default:
				}
				write(t, dialled, "last words")
				dialled.Close()
				wantRead(t, accepted, "last words")
				wantEOF(t, accepted)
				accepted.Close()
				if err := lab.Wait(t, down, "Shutdown returns"); err != nil {
					t.Errorf("Shutdown returned %v", err)
				}
			})
		})
	}
}

// TestDrainHTTP expects a node that stops its http.Server first to shut down at
// once, idle connections or not, and the response under way to be complete.
func TestDrainHTTP(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		g := lab.NewGate(t, 1)
		server, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				_, _ = g.Handle(r.Context(), nil)
				_, _ = w.Write(lab.Pattern(1, 300_000))
			}
		})
		if _, err := io.ReadAll(c.do(client, http.MethodGet, nil).Body); err != nil { // leaves an idle connection
			t.Fatal(err)
		}
		responses := lab.Go(func() int {
			body, err := io.ReadAll(c.do(client, http.MethodPost, nil).Body)
			if err != nil {
				t.Errorf("the client read %v", err)
			}
			return len(body)
		})
		lab.Wait(t, g.Began, "the request arrives")
		down := lab.Go(func() error {
			return errors.Join(server.Shutdown(t.Context()), c.Manager(1).Shutdown(t.Context()))
		})
		g.Release()
		if n := lab.Wait(t, responses, "the response is complete"); n != 300_000 {
			t.Errorf("the response has %d bytes", n)
		}
		if err := lab.Wait(t, down, "Shutdown returns"); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	})
}

// TestShutdownTimeout expects Shutdown to cut off connections that outlast its
// context.
func TestShutdownTimeout(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Manager(1).Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		synctest.Wait()
		if err := readError(t, dialled); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("the dialler read %v", err)
		}
		if err := readError(t, accepted); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("the listener's side read %v", err)
		}
	})
}

// TestNothingLeft expects connections that were closed in all ways, with deadlines
// set and bytes left unread, to leave neither goroutines nor memory.
func TestNothingLeft(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		ctx, cancel := context.WithCancel(t.Context()) // lives longer than they do
		defer cancel()
		round := func(n int) {
			for range n {
				st, err := c.Conn(0, 1).OpenStream(ctx, service, nil)
				if err != nil {
					t.Fatal(err)
				}
				dialled := st.Conn()
				accepted := c.accept(1)
				for _, conn := range []interface{ SetDeadline(time.Time) error }{dialled, accepted} {
					if err := conn.SetDeadline(time.Now().Add(24 * time.Hour)); err != nil {
						t.Fatal(err)
					}
				}
				write(t, dialled, "never read")
				write(t, accepted, "never read")
				dialled.Close()
				synctest.Wait()
				accepted.Close()
				synctest.Wait()
			}
		}
		round(100)
		// What is recycled survives one collection.
		heap := func() int64 { lab.HeapInUse(); return int64(lab.HeapInUse()) }
		before, goroutines := heap(), lab.Goroutines()
		more := lab.Scale(5000, 2000, 100_000)
		round(more)
		if left := heap() - before; left > int64(more)*300 {
			t.Errorf("%d connections left %d bytes", more, left)
		}
		if left := lab.Goroutines() - goroutines; left > 5 {
			t.Errorf("%d connections left %d goroutines", more, left)
		}
	})
}
