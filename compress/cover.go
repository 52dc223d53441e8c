package compress

import "encoding/binary"

const (
	coverGram    = 6  // bytes that count as something in common
	coverSegment = 48 // bytes that are taken at once
	coverBits    = 18 // of the table of grams
)

// cover returns at most size bytes of the samples: the segments whose grams most
// samples have. Each gram counts for the first segment that has it alone. Each
// part of the samples gives its best segment in turn, so that one kind of
// message that is more frequent than others does not take all the room. What is
// most in common stands last, where it is cheapest to refer to.
func cover(samples [][]byte, size int) []byte {
	var text []byte
	frequency := make([]int32, 1<<coverBits)
	last := make([]int32, 1<<coverBits) // sample that a gram was counted for
	for i, s := range samples {
		for j := range len(s) - coverGram + 1 {
			if g := gram(s[j:]); last[g] != int32(i+1) {
				last[g] = int32(i + 1)
				frequency[g]++
			}
		}
		text = append(text, s...)
	}
	for g, n := range frequency {
		if n == 1 {
			frequency[g] = 0 // in common with nothing
		}
	}

	parts := max(1, min(size/coverSegment/4, len(text)/(10*coverSegment)))
	part := len(text) / parts
	out := make([]byte, size)
	free := size
	inside := make([]uint16, 1<<coverBits) // how often the segment has a gram
	for i, barren := 0, 0; free >= coverGram && barren < parts; i = (i + 1) % parts {
		end := len(text)
		if i < parts-1 {
			end = min((i+1)*part+coverSegment, end)
		}
		segment := bestSegment(text[i*part:end], frequency, inside)
		if segment == nil {
			barren++
			continue
		}
		barren = 0
		for j := range len(segment) - coverGram + 1 {
			frequency[gram(segment[j:])] = 0
		}
		segment = segment[:min(len(segment), free)]
		free -= len(segment)
		copy(out[free:], segment)
	}
	return out[free:]
}

// bestSegment returns the segment of the text whose grams count most, without
// what does not count at its ends, or nil if nothing counts. Of inside all is 0,
// before and afterwards.
func bestSegment(text []byte, frequency []int32, inside []uint16) []byte {
	const grams = coverSegment - coverGram + 1
	score, best, at := 0, 0, -1
	n := len(text) - coverGram + 1
	for i := range n {
		g := gram(text[i:])
		if inside[g] == 0 {
			score += int(frequency[g])
		}
		inside[g]++
		if i >= grams {
			leave(text[i-grams:], frequency, inside, &score)
		}
		if score > best {
			best, at = score, max(0, i-grams+1)
		}
	}
	for i := max(0, n-grams); i < n; i++ {
		leave(text[i:], frequency, inside, &score)
	}
	if at < 0 {
		return nil
	}
	segment := text[at:min(at+coverSegment, len(text))]
	first, end := len(segment), 0
	for i := range len(segment) - coverGram + 1 {
		if frequency[gram(segment[i:])] > 0 {
			first, end = min(first, i), i+coverGram
		}
	}
	return segment[first:end]
}

func leave(text []byte, frequency []int32, inside []uint16, score *int) {
	g := gram(text)
	inside[g]--
	if inside[g] == 0 {
		*score -= int(frequency[g])
	}
}

// gram returns the place in the tables of the first coverGram bytes.
func gram(b []byte) uint32 {
	u := uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint16(b[4:]))<<32
	return uint32(u * 0x9E3779B97F4A7C15 >> (64 - coverBits))
}
