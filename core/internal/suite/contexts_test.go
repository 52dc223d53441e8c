package suite_test

import (
	"context"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// ownKey is a key of values in contexts.
type ownKey struct{}

// TestDerivedContexts holds that contexts derived from a handler's end with it,
// in every way that there is to derive one, and not before.
func TestDerivedContexts(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		ended, began := make(chan string, 10), make(chan struct{}, 1)
		c := l.Cluster(t, 2, lab.Handle("derive", func(ctx context.Context, _ []byte) ([]byte, error) {
			stop := context.AfterFunc(ctx, func() { ended <- "stopped" })
			if !stop() {
				t.Error("a function was called before its context has ended")
			}
			if stop() {
				t.Error("a function was stopped twice")
			}
			context.AfterFunc(ctx, func() { ended <- "after" })
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			context.AfterFunc(child, func() { ended <- "child" })
			grandchild, cancelGrandchild := context.WithTimeout(context.WithValue(child, ownKey{}, 1), time.Hour)
			defer cancelGrandchild()
			if ctx.Value(ownKey{}) != nil || core.PeerFromContext(grandchild) != "node-0" {
				t.Errorf("the handler's context has the value %v, and one derived from it the peer %q", ctx.Value(ownKey{}), core.PeerFromContext(grandchild))
			}
			began <- struct{}{}
			<-grandchild.Done()
			ended <- "grandchild"
			return nil, grandchild.Err()
		}))
		for range lab.Scale(10, 5, 100) {
			ctx, cancel := context.WithCancel(t.Context())
			called := lab.GoCall(ctx, c.Conn(0, 1), "derive", nil)
			lab.Wait(t, began, "the handler begins")
			cancel()
			lab.WantFailure(t, "the call", lab.Wait(t, called, "it returns").Err, context.Canceled, core.OutcomeMaybeRun)
			got := map[string]bool{}
			for range 3 {
				got[lab.Wait(t, ended, "contexts end with the one that they are derived from")] = true
			}
			if !got["after"] || !got["child"] || !got["grandchild"] {
				t.Errorf("when the context ended these learned of it: %v", got)
			}
		}
	})
}
