package streams_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestResponsesAfterTheContext ends the context of a stream while nobody reads.
// Responses then brings one Response with the error and is closed, whatever had
// arrived before and whatever else could have ended the stream (D3).
func TestResponsesAfterTheContext(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, channels("floods", 1, 10, func(_ context.Context, payload []byte, _ <-chan []byte, out chan<- []byte) error {
			for i := range 20 {
				out <- make([]byte, 50_000*(i%2))
			}
			return nil
		}))
		const patience = 100 * time.Millisecond
		for name, test := range map[string]struct {
			after time.Duration
			opts  []core.CallOption
			is    error
		}{
			"cancellation":   {patience, nil, context.Canceled},
			"own time-out":   {time.Hour, []core.CallOption{core.WithTimeout(patience)}, context.DeadlineExceeded},
			"ended before":   {0, nil, context.Canceled},
			"both at a time": {patience, []core.CallOption{core.WithTimeout(patience)}, nil},
		} {
			for _, read := range []int{0, 1, 5} {
				ctx, cancel := context.WithCancel(t.Context())
				st := mustNew(ctx, t, c.Conn(0, 1), "floods", test.opts...)
				for range read {
					if r := <-st.Responses; r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				stop := time.AfterFunc(test.after, cancel)
				time.Sleep(2 * patience)
				synctest.Wait()
				r, ok := <-st.Responses
				if !ok || r.Msg != nil || test.is != nil && !errors.Is(r.Err, test.is) || r.Err == nil {
					t.Errorf("%s after %d messages: Responses brought %d bytes, %v, open: %v, want only the error", name, read, len(r.Msg), r.Err, ok)
				}
				if r, ok := <-st.Responses; ok {
					t.Errorf("%s: behind the error Responses brought %d bytes, %v", name, len(r.Msg), r.Err)
				}
				stop.Stop()
				cancel()
			}
		}
	})
}

// TestResponsesAreClosed holds that Responses is closed after the last message
// where the handler returned without an error, and after one Response with the
// error else, which is that of Err.
func TestResponsesAreClosed(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, channels("two", 0, 5, func(_ context.Context, payload []byte, _ <-chan []byte, out chan<- []byte) error {
			out <- []byte("1")
			out <- []byte("2")
			if len(payload) > 0 {
				return errNoDisk
			}
			return nil
		}))
		for _, payload := range []string{"", "fail"} {
			st, err := c.Conn(0, 1).NewStream(t.Context(), "two", []byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			var msgs []string
			var last error
			for r := range st.Responses {
				if last != nil {
					t.Errorf("%v comes behind the error", r)
				}
				if last = r.Err; r.Err == nil {
					msgs = append(msgs, string(r.Msg))
				}
			}
			if fmt.Sprint(msgs) != "[1 2]" || errors.Is(last, errNoDisk) != (payload != "") || last != st.Err() {
				t.Errorf("payload %q: got %v, then %v, Err %v", payload, msgs, last, st.Err())
			}
		}
	})
}

// TestResults holds what Results returns: nil after a clean end, the error of the
// stream, or that of its function, which ends the stream.
func TestResults(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended := make(chan error, 1)
		c := l.Cluster(t, 2, channels("floods", 0, 1, func(ctx context.Context, _ []byte, _ <-chan []byte, out chan<- []byte) error {
			for ctx.Err() == nil {
				out <- []byte("x")
			}
			ended <- context.Cause(ctx)
			return nil
		}))
		st := mustNew(t.Context(), t, c.Conn(0, 1), "floods")
		n := 0
		err := st.Results(func([]byte) error {
			if n++; n == 10 {
				return errCause
			}
			return nil
		})
		if err != errCause || n != 10 {
			t.Errorf("Results returned %v after %d calls of its function, want its error after 10", err, n)
		}
		if err := lab.Wait(t, ended, "the handler's context ends"); err != context.Canceled {
			t.Errorf("the cause of the handler's context is %v", err)
		}
	})
}
