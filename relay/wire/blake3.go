package wire

import (
	"encoding/binary"
	"math/bits"
)

// challengeDigest is what a client signs: BLAKE3's derive_key of the challenge
// under the context "iroh-relay handshake v1 challenge signature". Both fit a
// block, so each is one compression, and the first one has a constant result.
func challengeDigest(c Challenge) (digest [32]byte) {
	var block [64]byte
	copy(block[:], c[:])
	const chunkStart, chunkEnd, root, material = 1, 2, 8, 64
	out := compress(challengeKey(), block, uint32(len(c)), chunkStart|chunkEnd|root|material)
	for i, word := range out {
		binary.LittleEndian.PutUint32(digest[4*i:], word)
	}
	return digest
}

// challengeKey is the key of that context.
func challengeKey() [8]uint32 {
	return [8]uint32{
		0x320c1311, 0xeb0e2895, 0x67e79553, 0x9eb34ce3, 0x3092783c, 0x4c690837, 0x0b186dcb, 0x4c7d6ca1,
	}
}

// compress is BLAKE3's compression of the first block of the first chunk: its
// first eight words.
//
// Source: the BLAKE3 paper, section 2.2.
func compress(key [8]uint32, block [64]byte, length, flags uint32) [8]uint32 {
	var m [16]uint32
	for i := range m {
		m[i] = binary.LittleEndian.Uint32(block[4*i:])
	}
	v := [16]uint32{
		key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0, 0, length, flags,
	}
	mix := func(a, b, c, d int, x, y uint32) {
		v[a] += v[b] + x
		v[d] = bits.RotateLeft32(v[d]^v[a], -16)
		v[c] += v[d]
		v[b] = bits.RotateLeft32(v[b]^v[c], -12)
		v[a] += v[b] + y
		v[d] = bits.RotateLeft32(v[d]^v[a], -8)
		v[c] += v[d]
		v[b] = bits.RotateLeft32(v[b]^v[c], -7)
	}
	order := [16]int{2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8}
	for round := range 7 {
		for i := range 4 { // columns
			mix(i, 4+i, 8+i, 12+i, m[2*i], m[2*i+1])
		}
		for i := range 4 { // diagonals
			mix(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4, m[8+2*i], m[9+2*i])
		}
		if round < 6 {
			var next [16]uint32
			for i, from := range order {
				next[i] = m[from]
			}
			m = next
		}
	}
	for i := range key {
		key[i] = v[i] ^ v[i+8]
	}
	return key
}
