package sim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestCauseIsNoReasonToTryAgain holds that a call that waits for connections ends
// with its context, also if that ended because of some other connection. The
// simulation found that it was repeated for ever: its seeds change with the
// tables, so what it takes stands here.
func TestCauseIsNoReasonToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := coretest.NewCluster(t, 2, coretest.WithNetwork(inmem.NewNetwork()))
		cluster.Network().Stall(cluster.Node(0).Name, cluster.Node(1).Name)
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 2)
		for range cap(errs) { // one that is not acknowledged, and one that waits for that
			go func() {
				_, err := cluster.Conn(0, 1).Request(ctx, hNobody, make([]byte, 2*wholeUpTo), core.WaitForConnection())
				errs <- err
			}()
			synctest.Wait()
		}
		cancel(core.ErrDisconnected)
		for range cap(errs) {
			select {
			case err := <-errs:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a call whose context has ended returned %v", err)
				}
			case <-time.After(time.Second):
				t.Fatal("a call whose context has ended does not return")
			}
		}
	})
}
