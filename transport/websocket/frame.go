package websocket

import (
	"encoding/binary"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

// headroom is the longest frame header, RFC 6455 section 5.2: 2 bytes, 8 of
// extended length, 4 of mask.
const headroom = ws.MaxHeaderSize

// header is a decoded frame header.
type header struct {
	fin    bool
	op     ws.OpCode
	masked bool
	mask   [4]byte
	length uint64 // of the payload
	size   int    // of the header itself, 2 to headroom
}

// violation is a breach of RFC 6455, or of the limit, by the peer.
type violation struct {
	code    ws.StatusCode // what the close frame will carry
	section string        // of RFC 6455
	text    string
	cause   error // set if the error has to match another
}

func (v *violation) Error() string {
	return "websocket: " + v.text + " (RFC 6455 section " + v.section + ")"
}

func (v *violation) Unwrap() error { return v.cause }

func breach(code ws.StatusCode, section, text string) *violation {
	return &violation{code: code, section: section, text: text}
}

func tooLarge(length uint64, limit int) *violation {
	err := transport.FrameTooLargeError(length, limit)
	return &violation{code: ws.StatusMessageTooBig, section: "10.4", text: err.Error(), cause: err}
}

// parse decodes the header at the beginning of b. It returns how many bytes it
// needs to go on, of which len(b) is less, or 0 when h is complete. Whatever can
// be told from the first two bytes is judged by them, so that a peer that
// speaks something else is not waited for.
func (h *header) parse(b []byte, wantMasked bool) (need int, v *violation) {
	if len(b) < 2 {
		return 2, nil
	}
	h.fin = b[0]&0x80 != 0
	h.op = ws.OpCode(b[0] & 0x0f)
	h.masked = b[1]&0x80 != 0
	short := b[1] & 0x7f
	switch {
	case b[0]&0x70 != 0:
		return 0, breach(ws.StatusProtocolError, "5.2", "reserved bits are set and no extension was negotiated")
	case h.op.IsReserved():
		return 0, breach(ws.StatusProtocolError, "5.2", "reserved opcode")
	case wantMasked && !h.masked:
		return 0, breach(ws.StatusProtocolError, "5.1", "a client's frame is not masked")
	case !wantMasked && h.masked:
		return 0, breach(ws.StatusProtocolError, "5.1", "a server's frame is masked")
	case h.op.IsControl() && !h.fin:
		return 0, breach(ws.StatusProtocolError, "5.4", "a control frame is fragmented")
	case h.op.IsControl() && short > ws.MaxControlFramePayloadSize:
		return 0, breach(ws.StatusProtocolError, "5.5", "a control frame is longer than 125 bytes")
	case h.op == ws.OpText:
		return 0, breach(ws.StatusUnsupportedData, "7.4.1", "a text message where only binary ones are understood")
	}

	h.size = 2
	switch short {
	case 126:
		h.size += 2
	case 127:
		h.size += 8
	}
	at := h.size
	if h.masked {
		h.size += len(h.mask)
	}
	if len(b) < h.size {
		return h.size, nil
	}
	switch short {
	case 126:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
		if h.length < 126 {
			return 0, breach(ws.StatusProtocolError, "5.2", "the length is not in its shortest form")
		}
	case 127:
		h.length = binary.BigEndian.Uint64(b[2:])
		if h.length>>63 != 0 {
			return 0, breach(ws.StatusProtocolError, "5.2", "the top bit of the length is set")
		}
		if h.length <= 0xffff {
			return 0, breach(ws.StatusProtocolError, "5.2", "the length is not in its shortest form")
		}
	default:
		h.length = uint64(short)
	}
	if h.masked {
		copy(h.mask[:], b[at:])
	}
	return 0, nil
}

// putHeader writes the header of a final frame with the length of f[headroom:]
// into f, directly before the payload, and returns f from there on. With a mask
// it also masks the payload.
func putHeader(f []byte, op ws.OpCode, mask *[4]byte) []byte {
	length := len(f) - headroom
	at := headroom
	bit := byte(0)
	if mask != nil {
		at -= len(mask)
		copy(f[at:], mask[:])
		ws.Cipher(f[headroom:], *mask, 0)
		bit = 0x80
	}
	// RFC 6455 section 5.2: the shortest of the three forms.
	switch {
	case length < 126:
		at -= 2
		f[at+1] = bit | byte(length)
	case length <= 0xffff:
		at -= 4
		f[at+1] = bit | 126
		binary.BigEndian.PutUint16(f[at+2:], uint16(length))
	default:
		at -= 10
		f[at+1] = bit | 127
		binary.BigEndian.PutUint64(f[at+2:], uint64(length))
	}
	f[at] = 0x80 | byte(op)
	return f[at:]
}
