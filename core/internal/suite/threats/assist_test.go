package threats_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestAssistWaitsEachTime holds the node that does not dial first to W60 every
// time that a session is lost, also one that it dialled itself: it leaves the
// other a second to come back, so that the two do not dial at once (T24).
func TestAssistWaitsEachTime(t *testing.T) {
	lab.RawTest(t, "W60", lab.RawSetup{}, func(t *testing.T, r *lab.RawCluster) {
		ln, err := r.Network.Node(r.Name).Listen(t.Context(), r.Name)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		r.Listener = ln
		for i := range 5 {
			began := time.Now()
			p := r.Accept()
			if waited := time.Since(began); i > 0 && waited < time.Second {
				t.Errorf("the node that does not dial first dialled %v after a session was lost, want a second at least", waited)
			}
			p.Handshake()
			p.WantLife(0, "the subject has dialled")
			p.Conn.CloseWithError(0, "")
		}
	})
}
