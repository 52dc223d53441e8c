package cost_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestIdleDay lets five nodes idle for 24 hours with keep-alive, under the race
// detector for six. Nothing happens, and nothing is left: the bubble would not end
// otherwise.
func TestIdleDay(t *testing.T) {
	day := time.Duration(lab.Scale(24, 6, 24)) * time.Hour
	for _, l := range lab.Links {
		if !l.Bubble {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			began := time.Now()
			synctest.Test(t, func(t *testing.T) {
				book, note := lab.Books(5)
				c := l.Cluster(t, 5, note)
				began := time.Now()
				time.Sleep(day)
				synctest.Wait()
				if d := time.Since(began); d != day {
					t.Errorf("%v passed, want %v", d, day)
				}
				for i := range c.Len() {
					if changes := book[i].Of(""); len(changes) != 8 {
						t.Errorf("node %d was told of %d changes, want two per peer", i, len(changes))
					}
					for j := range c.Len() {
						lab.MustCall(t, c.Conn(i, j), "echo", []byte("awake"))
					}
				}
			})
			t.Logf("%v of five idle nodes over %s took %v", day, l.Name, time.Since(began))
		})
	}
}
