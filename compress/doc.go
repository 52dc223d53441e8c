// Package compress has the codecs for the messages of handlers: [S2], which
// takes little time, and [Zstd], which makes messages smaller. Both take a
// [Dictionary], which makes small messages compressible. The formats are those
// that other programs know: blocks of S2, and frames of RFC 8878.
//
// # When, and which
//
// Compression pays where the link is slower than the codec. S2 compresses
// around 1 GB/s with one processor, Zstd a third to a half of that at [Fastest];
// both decode several times as fast. Within a data centre that means S2 or
// nothing, between sites Zstd. On the loopback interface it means nothing.
//
// It pays for text, JSON, logs and records with names in them. It does not for
// what is compressed or encrypted already: images, archives, most file formats
// of databases. Messages below some 500 bytes have little to repeat and grow
// rather than shrink, unless the codec has a dictionary.
//
// The share of their size that generated payloads have afterwards. The
// dictionaries have 8 KiB and were trained on other records of the kind:
//
//	payload  size            S2   S2+dict.       Zstd Zstd+dict. Zstd Better
//	json       200 B       0.98       0.37       0.91       0.38       0.81
//	json       1 KiB       0.51       0.35       0.38       0.25       0.37
//	json      16 KiB       0.32       0.31       0.20       0.19       0.18
//	json     256 KiB       0.27       0.27       0.18       0.18       0.16
//	log        200 B       1.02       0.38       1.05       0.38       0.88
//	log        1 KiB       0.59       0.38       0.44       0.27       0.42
//	log       16 KiB       0.36       0.34       0.21       0.20       0.20
//	log      256 KiB       0.32       0.32       0.19       0.19       0.19
//	msgpack    200 B       1.02       0.45       1.06       0.43       1.04
//	msgpack    1 KiB       0.55       0.41       0.45       0.31       0.44
//	msgpack   16 KiB       0.40       0.38       0.25       0.24       0.24
//	msgpack  256 KiB       0.36       0.36       0.23       0.24       0.23
//	random     200 B       1.02          -       1.04          -       1.04
//	random     1 KiB       1.00          -       1.01          -       1.01
//	random    16 KiB       1.00          -       1.00          -       1.00
//	random   256 KiB       1.00          -       1.00          -       1.00
//
// A dictionary is worth most for records of a few hundred bytes, and nothing
// above some 16 KiB. For such records S2 with a dictionary is as small as Zstd
// with one, and takes a seventh of its time.
//
// Of the levels, [Fastest] is the one for calls. Each of the next two takes a
// quarter to a half more time, and with a dictionary for small messages up to
// twice as much; they gain a few per cent. [Best] is for what is compressed once
// and sent to many. Mind what is said of memory at [Codec].
//
// # Dictionaries
//
// [Train] makes a dictionary from samples of what a handler sends. Do it once,
// store [Dictionary.Bytes], and give every node the same bytes; the id of a
// dictionary is a hash of them, so that nodes can tell each other which ones
// they have. [WithDictionary] says how to replace one while the nodes run.
//
// # Windows
//
// Messages of one stream that resemble one another need no dictionary: with
// [Codec.NewWindow], which core.WithSharedWindow uses, each refers to those before it.
// Records of 200 bytes of JSON then have a fifth of their size with Zstd, in less time
// than each by itself. S2 has no windows. Every stream holds memory for it.
//
// # What compression gives away
//
// The length of a message tells something about what is in it. If an attacker
// can put text of his choice into a message that has a secret in it as well, and
// can see how long it is on the wire, encrypted or not, he finds the secret byte
// by byte: what repeats part of it makes the message shorter. That is how CRIME
// and BREACH work. So do not compress messages that have secrets, such as
// tokens, keys or cookies, beside text from outside; switch it on for the
// handlers whose messages have none. Messages do not tell anything about each
// other: each is compressed by itself, but for those that share a window. In a
// window that is true of all messages of a stream together. A dictionary is not a secret, and must
// not be trained on any.
//
// # Hostile messages
//
// What is decoded may come from anyone. Before anything is allocated, the size
// that a message claims is compared with the limit, and with what its bytes can
// stand for at most; a window above 8 MiB, more than one frame, frames to be
// skipped, and frames that do not say their size are refused. A message that
// then turns out to be of another size is an error as well.
package compress
