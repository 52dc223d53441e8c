package typed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// sizesOfDocuments are below and above what travels in one frame.
var sizesOfDocuments = []int{0, 100, 500, 3000, 31 << 10, 40 << 10, 200 << 10}

// TestCancelledCalls holds that calls that are given up at any moment, their request
// half sent or their response half received, leave no buffer in use that others
// get: whatever reaches a handler or a caller is as it was sent.
func TestCancelledCalls(t *testing.T) {
	for _, rate := range []int{0, 20 << 20} {
		lab.Bubble(t, fmt.Sprintf("%d bytes per second", rate), func(t *testing.T) {
			c := lab.InmemLink().Cluster(t, 2, serve(func(m *core.Manager) error {
				return upper.Handle(m, func(_ context.Context, d *Document) (*Document, error) {
					var i int
					if _, err := fmt.Sscanf(d.Title, "document %d", &i); err != nil || !same(d, document(i, len(d.Body))) {
						t.Errorf("a handler got document %q changed, %v", d.Title, err)
					}
					return d, nil
				})
			}))
			c.Memory().SetConditions(inmem.Conditions{Latency: time.Millisecond, Bandwidth: rate})
			var done, cancelled atomic.Int32
			var wg sync.WaitGroup
			for caller := range 8 {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(uint64(caller), uint64(rate)))
					var into Document
					for n := range lab.Scale(40, 20, 400) {
						i := caller<<16 | n
						req := document(i, sizesOfDocuments[random.IntN(len(sizesOfDocuments))])
						patience := time.Duration(random.Int64N(int64(30 * time.Millisecond)))
						err := upper.CallInto(t.Context(), c.Conn(0, 1), req, &into, core.WithTimeout(patience+1))
						switch {
						case err == nil:
							if done.Add(1); !same(&into, req) {
								t.Errorf("document %d came back changed", i)
							}
						case errors.Is(err, context.DeadlineExceeded):
							cancelled.Add(1)
						default:
							t.Errorf("document %d: %v", i, err)
						}
					}
				})
			}
			wg.Wait()
			if done.Load() == 0 || cancelled.Load() == 0 {
				t.Errorf("%d calls were answered and %d given up, want both", done.Load(), cancelled.Load())
			}
		})
	}
}

// TestClosedStreams holds the same of streams that are closed at any moment by
// another goroutine than the one that receives: it gets messages as they were sent,
// and then the error.
func TestClosedStreams(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		feed := core.NewServerStream[Point, Document]("memory.feed")
		talk := core.NewBidi[Point, Document, Document](feed.ID())
		c := l.Cluster(t, 2, serve(func(m *core.Manager) error {
			return feed.Handle(m, func(_ context.Context, p *Point, send func(*Document) error) error {
				for i := int(p.X); ; i++ {
					if err := send(document(i, sizesOfDocuments[i%len(sizesOfDocuments)])); err != nil {
						return err
					}
				}
			})
		}))
		var wg sync.WaitGroup
		for receiver := range 4 {
			wg.Go(func() {
				for n := range lab.Scale(20, 8, 200) {
					s, err := talk.Open(t.Context(), c.Conn(0, 1), &Point{X: int64(n)})
					if err != nil {
						t.Error(err)
						return
					}
					ready, closed := make(chan struct{}), make(chan struct{})
					go func() {
						<-ready
						s.Close()
						close(closed)
					}()
					var into Document
					for i := n; ; i++ {
						if err = s.RecvInto(&into); err != nil {
							break
						}
						if !same(&into, document(i, sizesOfDocuments[i%len(sizesOfDocuments)])) {
							t.Errorf("message %d was changed", i)
						}
						if i == n+(n+receiver)%10 {
							close(ready)
						}
					}
					if errors.Is(err, core.ErrMalformedMessage) || core.OutcomeOf(err) == core.OutcomeRemote {
						t.Errorf("a stream that was closed ended with %v", err)
					}
					<-closed
				}
			})
		}
		wg.Wait()
	})
}
