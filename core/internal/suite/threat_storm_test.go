package suite_test

import (
	"testing"
	"time"
)

// TestAssistWaitsEachTime holds the node that does not dial first to W60 every
// time that a session is lost, also one that it dialled itself: it leaves the
// other a second to come back, so that the two do not dial at once (T24).
func TestAssistWaitsEachTime(t *testing.T) {
	rawTest(t, "W60", rawSetup{}, func(t *testing.T, r *rawCluster) {
		ln, err := r.network.Node(r.raw).Listen(t.Context(), r.raw)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		r.listener = ln
		for i := range 5 {
			began := time.Now()
			p := r.accept()
			if waited := time.Since(began); i > 0 && waited < time.Second {
				t.Errorf("the node that does not dial first dialled %v after a session was lost, want a second at least", waited)
			}
			p.handshake()
			p.wantLife(0, "the subject has dialled")
			p.tc.CloseWithError(0, "")
		}
	})
}
