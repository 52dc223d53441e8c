package core

import "encoding/binary"

// Compressed messages stay so in the inbox, where they count as what they are: in
// the window by the bytes that have arrived. They are restored on the goroutine that
// takes them, into its memory.

// packedHead is what stands behind the length of a compressed message: codec,
// dictionary, and the decoded size in 4 bytes.
const packedHead = 6

// deliverPacked takes a whole compressed message from the reader.
func (st *RawStream) deliverPacked(msg []byte, how packed) error {
	q := &st.in
	n := len(msg)
	st.mu.Lock()
	if skip, err := st.arrive(uint64(how.size()), n); skip {
		st.mu.Unlock()
		return err
	}
	if how.size() > q.first {
		st.mu.Unlock()
		return errUncut // nothing is reserved for what it becomes
	}
	if q.dropping {
		st.mu.Unlock()
		st.passOver(n)
		return nil
	}
	c := q.chunkFor(lengthSize + packedHead + n)
	c.b = binary.LittleEndian.AppendUint32(c.b, packedMark|uint32(n))
	c.b = binary.LittleEndian.AppendUint32(append(c.b, how.codec, how.dict), how.bytes)
	c.b = append(c.b, msg...)
	st.countIn(how.size())
	q.wakeUp()
	st.mu.Unlock()
	return nil
}

// nextPacked cuts the compressed message off that is next in the chunk.
func (q *inbox) nextPacked() (src []byte, how packed) {
	b := q.cur.b[q.off:]
	n := int(binary.LittleEndian.Uint32(b) &^ packedMark)
	b = b[lengthSize:]
	how = packed{b[0], b[1], binary.LittleEndian.Uint32(b[2:])}
	q.off += lengthSize + packedHead + n
	return b[packedHead : packedHead+n], how
}

// receivePacked is receive for a compressed message.
func (st *RawStream) receivePacked(dst []byte) ([]byte, error) {
	src, how := st.in.nextPacked()
	out, err := st.unpack(dst, src, how)
	if err != nil {
		return dst, st.broken(err)
	}
	st.took(len(src))
	return out, nil
}

// unpackLarge is receiveLarge for a compressed message.
func (st *RawStream) unpackLarge(dst []byte, m *largeMessage) ([]byte, error) {
	mem := m.mem
	// What is reserved covers what it becomes, until that is the user's.
	out, err := st.s.m.unpack(dst, mem.b, m.how, st.inFlow(), st.taking())
	st.takeLarge(m)
	mem.put()
	if err != nil {
		return dst, st.broken(err)
	}
	return out, nil
}

// borrowPacked is borrow for a compressed message.
func (st *RawStream) borrowPacked() (b []byte, mem *buffer, err error) {
	src, how := st.in.nextPacked()
	b, mem, err = st.unpackOwn(src, how)
	if err != nil {
		return nil, nil, st.broken(err)
	}
	st.took(len(src))
	return b, mem, nil
}

// unfoldLarge restores a large message where it stands in the inbox.
func (st *RawStream) unfoldLarge(m *largeMessage) error {
	b, mem, err := st.s.m.unpackOwn(m.mem.b, m.how, st.inFlow(), st.taking())
	if err != nil {
		st.takeLarge(m)
		return st.broken(err)
	}
	if mem == nil {
		mem = &buffer{b: b}
	}
	m.mem.put()
	m.mem, m.restored = mem, true
	return nil
}

// unfold restores the compressed message that is next, for who takes parts of
// messages: it becomes a chunk of its own, ahead of the rest of its chunk. Its credit
// is given back now, since what it cost is not held any more.
func (st *RawStream) unfold() error {
	q := &st.in
	src, how := q.nextPacked()
	b, mem, err := st.unpackOwn(src, how)
	if err != nil {
		return st.broken(err)
	}
	chunk := getBuffer(lengthSize + len(b))
	chunk.b = append(binary.LittleEndian.AppendUint32(chunk.b, uint32(len(b))), b...)
	if mem != nil {
		mem.put()
	}
	st.took(len(src))
	q.folded, q.foldedOff = q.cur, int32(q.off)
	q.cur, q.off = chunk, 0
	return nil
}

// unfolded goes back from a restored message to the chunk that it was in, and
// reports whether that has more. dropped says that nothing of it is wanted.
func (q *inbox) unfolded(dropped bool) (more bool) {
	if q.folded == nil {
		return false
	}
	q.cur.put()
	q.cur, q.off = q.folded, int(q.foldedOff)
	q.folded = nil
	return !dropped && q.off < len(q.cur.b)
}
