package sessions_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestLeavingDuringTheHandshake has a node drain, or take the other out, at one
// moment after another of a handshake that takes 60 ms, while calls of both wait
// for the connection. None of them is left in doubt: either it is carried out or
// it did not run (F19).
func TestLeavingDuringTheHandshake(t *testing.T) {
	for name, leave := range map[string]func(c *lab.Cluster, who int) error{
		"Shutdown": func(c *lab.Cluster, who int) error { return c.Manager(who).Shutdown(context.Background()) }, //nolint:usetesting // A context from outside the bubble would stop its clock.
		"SetPeers": func(c *lab.Cluster, who int) error { return c.Manager(who).SetPeers(nil) },
	} {
		for who := range 2 {
			t.Run(fmt.Sprintf("%s of node %d", name, who), func(t *testing.T) {
				for at := time.Duration(0); at < 100*time.Millisecond; at += time.Millisecond {
					t.Run(at.String(), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							c := lab.InmemLink().Cluster(t, 2, coretest.Unstarted())
							c.Memory().SetLatency(10 * time.Millisecond)
							c.Start(0)
							c.Start(1)
							ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
							defer cancel()
							var calls [2]<-chan error
							for i := range calls {
								calls[i] = lab.Go(func() error {
									return c.Ledger.Call(ctx, c.Conn(i, 1-i), fmt.Sprint("node ", i), coretest.LedgerAppend, coretest.Job{}, core.WaitForConnection())
								})
							}
							time.Sleep(at)
							if err := leave(c, who); err != nil {
								t.Errorf("%s returned %v", name, err)
							}
							for i := range calls {
								if err := lab.Wait(t, calls[i], "a call returns"); err != nil && !mayRepeat(err) {
									t.Errorf("%v after the beginning: the call of node %d returned outcome %q of %v", at, i, core.OutcomeOf(err), err)
								}
							}
							c.CheckLedger()
						})
					})
				}
			})
		}
	}
}
