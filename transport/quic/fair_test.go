package quic_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
)

// TestFirstLaneLeavesRoomForOthers holds that a backlog on the first lane, which goes
// before the others, leaves each of these at least a twelfth of what it gets itself:
// they got next to nothing while there was a backlog.
func TestFirstLaneLeavesRoomForOthers(t *testing.T) {
	inLab(t, func(l *lab) {
		c, s := l.pair(quic.Options{}, quic.Options{})
		opened, err := c.(transport.LaneConn).OpenLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		if err := send(opened, "x"); err != nil {
			l.Fatal(err)
		}
		accepted, err := s.(transport.LaneConn).AcceptLane(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		// What is lost keeps the congestion window small, so that it is what all share.
		l.net.Set(packetnet.Conditions{Latency: 10 * time.Millisecond, Loss: 0.01})

		const size = 60 << 10
		got := [2]int{}
		until := time.Now().Add(20 * time.Second)
		done := make(chan struct{}, 4)
		for i, ends := range [2][2]transport.Conn{{c, s}, {opened, accepted}} {
			go func() {
				defer func() { done <- struct{}{} }()
				for frame := make([]byte, size+ends[0].Info().Headroom); ; {
					if err := ends[0].WriteFrames([][]byte{frame}); err != nil {
						return
					}
				}
			}()
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					p, err := ends[1].ReadFrame(size)
					if err != nil {
						return
					}
					if time.Now().Before(until) {
						got[i] += len(p)
					}
				}
			}()
		}
		<-time.After(time.Until(until) + time.Second)
		c.CloseWithError(0, "")
		s.CloseWithError(0, "")
		for range 4 {
			<-done
		}
		t.Logf("the first lane got %d bytes, the other %d", got[0], got[1])
		if got[0] < 1<<20 || got[1] < got[0]/12 || got[1] > got[0]/2 {
			t.Errorf("the first lane got %d bytes and the other %d, want that to be from a twelfth to a half of it", got[0], got[1])
		}
	})
}
