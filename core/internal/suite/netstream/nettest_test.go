package netstream_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestNettest expects both ends of a stream to be a net.Conn as nettest defines
// it, over every link, whichever of them is the first.
func TestNettest(t *testing.T) {
	for _, l := range lab.Links {
		t.Run(l.Name, func(t *testing.T) {
			c := listen(t, l, 2)
			for _, swapped := range []bool{false, true} {
				name := "dialler first"
				if swapped {
					name = "dialler second"
				}
				t.Run(name, func(t *testing.T) {
					nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
						c1, c2 = c.pair()
						if swapped {
							c1, c2 = c2, c1
						}
						return c1, c2, func() { c1.Close(); c2.Close() }, nil
					})
				})
			}
		})
	}
}
