package quic_test

import (
	"fmt"
	"testing"

	"github.com/gridmux/gridmux/transport"
)

// TestStrangersBuffer expects a peer whose frames nobody has read yet, as before the
// handshake of the core, to get no more than 768 KiB across on all lanes together,
// and all of them to arrive when they are read.
func TestStrangersBuffer(t *testing.T) {
	inLab(t, func(l *lab) {
		const window, lanes, size = 768 << 10, 20, 128 << 10
		s, qc, _ := l.acceptBare(begin)
		done := make(chan error)
		for range lanes {
			stream, err := qc.OpenStream()
			if err != nil {
				l.Fatal(err)
			}
			go func() {
				_, err := stream.Write(append([]byte{0, 0, size >> 16, 0}, make([]byte, size)...))
				done <- err
			}()
		}
		l.settle()
		sent := qc.ConnectionStats().BytesSent
		if sent < window || sent > window+window/8 {
			t.Errorf("with windows of %d bytes %d were sent", window, sent)
		}
		for range lanes {
			lane, err := s.(transport.LaneConn).AcceptLane(l.Context())
			if err != nil {
				l.Fatal(err)
			}
			go func() {
				p, err := lane.ReadFrame(size)
				if err == nil && len(p) != size {
					err = fmt.Errorf("a frame of %d bytes", len(p))
				}
				done <- err
			}()
		}
		for range 2 * lanes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
