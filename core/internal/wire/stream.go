package wire

import "encoding/binary"

// Open is a parsed OPEN (W80).
type Open struct {
	Handler  uint64 // as in REQUEST
	Timeout  uint64 // as in REQUEST
	Capacity uint32 // messages that the callee may have under way, 1 to MaxCapacity
	Size     uint64 // as in REQUEST, of the initial payload
	Decoded  uint64
	Accept   Accept
	Metadata []byte
	Payload  []byte // nil if the caller's was
}

// MaxCapacity bounds the messages that one side of a stream may have under way
// (W80, W54).
const MaxCapacity = 1 << 20

const openHead = requestHead + 4

// OpenOverhead is what an OPEN without metadata adds to its payload, at most.
const OpenOverhead = HeaderSize + openHead + sizeBlock + acceptBlock

// AppendOpen appends an OPEN with the whole payload. The time-out field stands
// where that of a REQUEST does, for [SetTimeout].
func AppendOpen(dst []byte, id CallID, handler, timeout uint64, capacity uint32, prio Flags, payload []byte) []byte {
	dst = appendHeader(dst, TypeOpen, prio|nilFlag(payload), id, openHead+len(payload))
	return append(appendOpenHead(dst, handler, timeout, capacity), payload...)
}

// AppendOpenStart appends an OPEN whose payload is the first part of a message
// of size bytes.
func AppendOpenStart(dst []byte, id CallID, handler, timeout uint64, capacity uint32, prio Flags, size uint64, part []byte) []byte {
	dst = appendHeader(dst, TypeOpen, prio|FlagFragmented, id, openHead+sizeBlock+len(part))
	dst = appendOpenHead(dst, handler, timeout, capacity)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	return append(dst, part...)
}

func appendOpenHead(dst []byte, handler, timeout uint64, capacity uint32) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, handler)
	dst = binary.LittleEndian.AppendUint64(dst, timeout)
	return binary.LittleEndian.AppendUint32(dst, capacity)
}

// ParseOpen reads the body of an OPEN.
func ParseOpen(f *Frame) (o Open, err error) {
	b := f.Body
	if len(b) < openHead {
		return o, malformed("OPEN of %d bytes", len(b))
	}
	if f.Flags&(FlagHigh|FlagLow) == FlagHigh|FlagLow {
		return o, malformed("OPEN with two priorities")
	}
	o.Handler = binary.LittleEndian.Uint64(b)
	o.Timeout = binary.LittleEndian.Uint64(b[8:])
	o.Capacity = binary.LittleEndian.Uint32(b[requestHead:])
	if o.Capacity == 0 || o.Capacity > MaxCapacity {
		return o, malformed("OPEN with a capacity of %d messages, 1 to %d allowed", o.Capacity, MaxCapacity)
	}
	m, err := parsePayload(f, b[openHead:])
	o.Size, o.Decoded, o.Accept, o.Metadata, o.Payload = m.size, m.decoded, m.accept, m.meta, m.payload
	return o, err
}

// Data is a parsed DATA (W81).
type Data struct {
	Size, Decoded uint64 // as in RESPONSE
	Payload       []byte
}

// AppendData appends a DATA with a whole message.
func AppendData(dst []byte, id CallID, msg []byte) []byte {
	dst = appendHeader(dst, TypeData, 0, id, len(msg))
	return append(dst, msg...)
}

// AppendDataStart appends a DATA with the first part of a message of size bytes.
func AppendDataStart(dst []byte, id CallID, size uint64, part []byte) []byte {
	dst = appendHeader(dst, TypeData, FlagFragmented, id, sizeBlock+len(part))
	dst = binary.LittleEndian.AppendUint64(dst, size)
	dst = binary.LittleEndian.AppendUint64(dst, size)
	return append(dst, part...)
}

// ParseData reads the body of a DATA.
func ParseData(f *Frame) (d Data, err error) {
	// Most messages are small and whole, and have nothing to check.
	if f.plain() {
		n := uint64(len(f.Body))
		return Data{n, n, f.Body}, nil
	}
	m, err := parsePayload(f, f.Body)
	return Data{m.size, m.decoded, m.payload}, err
}

// AppendEnd appends an END (W82).
func AppendEnd(dst []byte, id CallID) []byte { return appendHeader(dst, TypeEnd, 0, id, 0) }

// AppendGrant appends a GRANT (W45).
func AppendGrant(dst []byte, id CallID) []byte { return appendHeader(dst, TypeGrant, 0, id, 0) }

const creditSize = 8

// AppendCredit appends a CREDIT (W83). Not both numbers may be 0.
func AppendCredit(dst []byte, id CallID, messages, bytes uint32) []byte {
	dst = appendHeader(dst, TypeCredit, 0, id, creditSize)
	dst = binary.LittleEndian.AppendUint32(dst, messages)
	return binary.LittleEndian.AppendUint32(dst, bytes)
}

// ParseCredit reads the body of a CREDIT. Whether the stream allows so much is
// for the receiver to judge (W84).
func ParseCredit(f *Frame) (messages, bytes uint32, err error) {
	if len(f.Body) != creditSize {
		return 0, 0, malformed("CREDIT of %d bytes", len(f.Body))
	}
	messages, bytes = binary.LittleEndian.Uint32(f.Body), binary.LittleEndian.Uint32(f.Body[4:])
	if messages|bytes == 0 {
		// It would move nothing on, and could be repeated for ever.
		return 0, 0, malformed("CREDIT of nothing")
	}
	return messages, bytes, nil
}

// AppendMark appends a MARK (W44).
func AppendMark(dst []byte) []byte { return appendHeader(dst, TypeMark, 0, 0, 0) }

const ackSize = 8

// AppendAck appends an ACK (W44): total bytes of paced bodies have arrived in the
// session so far.
func AppendAck(dst []byte, total uint64) []byte {
	dst = appendHeader(dst, TypeAck, 0, 0, ackSize)
	return binary.LittleEndian.AppendUint64(dst, total)
}

// ParseAck reads the body of an ACK.
func ParseAck(f *Frame) (total uint64, err error) {
	if len(f.Body) != ackSize {
		return 0, malformed("ACK of %d bytes", len(f.Body))
	}
	return binary.LittleEndian.Uint64(f.Body), nil
}
