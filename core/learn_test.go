package core

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestUnansweredCatalogueIsAskedForOnce plays a peer that answers pings and never what
// its handlers are: one question waits for it, however long the session lives.
func TestUnansweredCatalogueIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		s.catalogue[0] = 1
		for range 5 {
			s.learnHandlers()
			time.Sleep(m.cfg.KeepAlive)
		}
		if n := s.calls.pending(); n != 1 {
			t.Errorf("%d questions wait for an answer, want 1", n)
		}
	})
}
