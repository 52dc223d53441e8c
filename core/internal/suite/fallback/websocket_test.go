package fallback_test

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/websocket"
)

// TestMovesUpFromWebsocket has websocket as the other transport, which shares the
// address with the preferred one: nodes connect over it while that is blocked, move
// without a failure when it is not, and are back when it breaks. Websocket needs a
// checksum and the other does not, so nothing of one session is that of the next.
func TestMovesUpFromWebsocket(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		var net memnet.Network
		for i := range p.nodes {
			p.nodes[i].Addr += ":80"
		}
		p.transport = func(i int) transport.Transport {
			ws := websocket.New(websocket.Options{Listen: net.ListenContext, DialContext: net.DialContext})
			return transport.Fallback(p.udpOf(i), ws)
		}
		p.configure = func(_ int, cfg *core.Config) { cfg.AllowInsecure = true }
		p.block(p.udp)
		p.start()
		p.want("websocket", "with udp blocked")
		p.heal(p.udp)
		l := p.loadWhenDialled(dialler)
		time.Sleep(8 * time.Second)
		p.want("udp", "after udp was opened")
		l.wantNoFailure("during the move")
		time.Sleep(10 * time.Minute)
		p.block(p.udp)
		p.cut(p.udp)
		time.Sleep(20 * time.Second)
		p.want("websocket", "with udp blocked again")
		p.heal(p.udp)
		time.Sleep(10 * time.Minute)
		p.want("udp", "after udp was opened again")
	})
}
