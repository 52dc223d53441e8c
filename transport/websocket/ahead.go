package websocket

import "github.com/gridmux/gridmux/transport"

var _ transport.BufferedConn = (*conn)(nil)

// FrameBuffered reports whether a whole data frame lies in the chunk. Control
// frames do not count: behind one ReadFrame may have to wait.
func (c *conn) FrameBuffered() bool {
	b := c.in.buffered()
	var h header
	if need, v := h.parse(b, !c.client); need > 0 || v != nil {
		return false
	}
	return h.fin && !h.op.IsControl() && h.length <= uint64(len(b)-h.size)
}
