package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// The public keys of seeds that are one octet, 32 times.
const (
	key01 = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
	key02 = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
	key2a = "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61"
)

func private(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t testing.TB, what string, got []byte, want string) {
	t.Helper()
	if w := unhex(t, want); !bytes.Equal(got, w) {
		t.Errorf("%s\n is %x\nnot %x", what, got, w)
	}
}

// What real clients of iroh 0.35 send first.
func TestClientInfoOfRealClients(t *testing.T) {
	for seed, v := range map[byte]struct{ key, frame string }{
		1: {key01, "020000006a52454c4159f09f94918a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c756408beeea41f4705dc925971973a68cd88b3624b3050949395838a82f037b9766abc634e4b7a4df1aa7aac190b4f8d5b3aa519bc2f9e312f0196b245a0200003"},
		2: {key02, "020000006a52454c4159f09f94918139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3948f4140c6c32a724b865cfd5a78462d515ba263a45d9e84921ae2b84db0f5da08f015d5a820ee453c250e5c4509670b9b12fcc078275f5e4cba025421b60e8d0903"},
	} {
		same(t, "on a stream", AppendClientInfoStream(nil, private(seed)), v.frame)
		frame, n, _, err := CutStream(unhex(t, v.frame))
		if err != nil || n != len(v.frame)/2 {
			t.Fatal(n, err)
		}
		if k, err := ParseClientInfo(frame); k.Hex() != v.key || err != nil {
			t.Errorf("%s, %v", k.Hex(), err)
		}
		if !bytes.Equal(AppendClientInfo(nil, private(seed)), frame) {
			t.Error("in a websocket message: not the same without its length")
		}
	}
}

// What real clients of iroh 1.0 answer to a challenge.
func TestChallengeAnswersOfRealClients(t *testing.T) {
	c, err := ParseChallenge(unhex(t, "00 000102030405060708090a0b0c0d0e0f"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the challenge", AppendChallenge(nil, c), "00000102030405060708090a0b0c0d0e0f")
	digest := challengeDigest(c)
	same(t, "what is signed", digest[:], "b7b16e505d2cb5dbaf494800092c3b05a6c45d8d3fd4f1b888c6a77240b876c0")
	for seed, v := range map[byte]struct{ key, frame string }{
		1: {key01, "018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c404d5e2e27b1f48ba67554ffa68589791ddfec1529574c3f26e4356bc075cee0a3ddaedea5fb0b3de1359d135dce06aa7f192562e48df781df865c77f1d716f00d"},
		2: {key02, "018139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b39440ef0157e4d946ff69f1dc5e382117b873dfd4dbc54a0b0a9fbd9d33a7ae8618d8b88ebbb8566b96f22675c191575674a631182d4a1d2425264a5f17255a5c4704"},
	} {
		same(t, "the answer", AppendClientAuth(nil, private(seed), c), v.frame)
		if k, err := ParseClientAuth(unhex(t, v.frame), c); k.Hex() != v.key || err != nil {
			t.Errorf("%s, %v", k.Hex(), err)
		}
	}
}

// The login by exported key material.
func TestKeyMaterialOfTheReference(t *testing.T) {
	const value = "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5RAUj5B9gsGYBdjRM7U_D7-chJW40UR9lSRz1K2QCYiUX-F-t-W0Jjsr0L6JzkSfFWf_n_L2dMKEsP3cYr6dYdXCn3meelRkV7WINqAqh9EG8M"
	material := unhex(t, "7d03102b7dd60844591fd9e5731c8a0d7de679e951915ed620da80aa1f441bc3")
	if got := KeyAuthValue(private(2), material); got != value {
		t.Errorf("the header is %s", got)
	}
	a, err := ParseKeyAuth(value)
	if err != nil || a.Key.Hex() != key02 {
		t.Fatal(a.Key.Hex(), err)
	}
	if err := a.Verify(material); err != nil {
		t.Error(err)
	}
}

// Each frame, as the reference's own tests have it, both ways.
func TestFramesOfTheReference(t *testing.T) {
	k := Key(unhex(t, key2a))
	hello := []byte("Hello World!")
	echo := [8]byte(bytes.Repeat([]byte{0x2a}, 8))
	const h, e = "48656c6c6f20576f726c6421", "2a2a2a2a2a2a2a2a"
	for _, v := range []struct {
		d    Dialect
		from From
		f    Frame
		want string
	}{
		{P3, FromClient, Frame{Kind: Datagrams, Key: k, Data: hello}, "04" + key2a + h},
		{P3, FromRelay, Frame{Kind: Datagrams, Key: k, Data: hello}, "05" + key2a + h},
		{P3, FromClient, Frame{Kind: Ping, Echo: echo}, "0c" + e},
		{P3, FromRelay, Frame{Kind: Pong, Echo: echo}, "0d" + e},
		{P3, FromRelay, Frame{Kind: Gone, Key: k}, "08" + key2a},
		{P3, FromRelay, Frame{Kind: Health, Text: []byte("not authenticated")}, "0e 6e6f742061757468656e74696361746564"},
		{P3, FromRelay, Frame{Kind: Restarting, In: 10, For: 20}, "0f 0000000a00000014"},
		{P3, FromClient, Frame{Kind: KeepAlive}, "06"},
		{P3, FromClient, Frame{Kind: Preferred, Code: 1}, "0701"},
		{V2, FromClient, Frame{Kind: Datagrams, Key: k, ECN: 3, Data: hello}, "04" + key2a + "03" + h},
		{V1, FromRelay, Frame{Kind: Datagrams, Key: k, ECN: 3, Data: hello}, "06" + key2a + "03" + h},
		{V2, FromClient, Frame{Kind: Datagrams, Key: k, ECN: 3, Segment: 6, Data: hello}, "05" + key2a + "030006" + h},
		{V2, FromRelay, Frame{Kind: Datagrams, Key: k, ECN: 3, Segment: 6, Data: hello}, "07" + key2a + "030006" + h},
		{V2, FromClient, Frame{Kind: Ping, Echo: echo}, "09" + e},
		{V1, FromRelay, Frame{Kind: Pong, Echo: echo}, "0a" + e},
		{V2, FromRelay, Frame{Kind: Gone, Key: k}, "08" + key2a},
		{V2, FromRelay, Frame{Kind: Status, Code: KeyElsewhere}, "0d01"},
		{V1, FromRelay, Frame{Kind: Health, Text: []byte("x")}, "0b78"},
		{V2, FromRelay, Frame{Kind: Restarting, In: 10, For: 20}, "0c 0000000a 00000014"},
	} {
		same(t, v.d.String(), v.d.Append(nil, v.f, v.from), v.want)
		f, err := v.d.Parse(unhex(t, v.want), v.from)
		if err != nil {
			t.Errorf("%s: %v", v.want, err)
			continue
		}
		same(t, "written again", v.d.Append(nil, f, v.from), v.want)
		if n := v.d.size(f); n != len(unhex(t, v.want)) {
			t.Errorf("%s: size %d", v.want, n)
		}
	}
	same(t, "confirmation", AppendConfirms(nil), "02")
	same(t, "denial", AppendDenies(nil, "not authorized"), "03 0e 6e6f7420617574686f72697a6564")
	if err := ParseVerdict(unhex(t, "030e6e6f7420617574686f72697a6564")); err == nil || !strings.Contains(err.Error(), "not authorized") {
		t.Error(err)
	}
	same(t, "on a stream", AppendStream(nil, Frame{Kind: Datagrams, Key: k, Data: hello}), "04 0000002c"+key2a+h)
	same(t, "to the client", Stream.Append(nil, P3, Frame{Kind: Datagrams, Key: k, Data: hello}), "05 0000002c"+key2a+h)
	same(t, "over a websocket", WebSocket.Append(nil, V2, Frame{Kind: Ping, Echo: echo}), "8209 09"+e)
}

// The compression is BLAKE3's: the hash of nothing, and the key of the context
// that is written down as a number.
func TestCompressionIsBLAKE3(t *testing.T) {
	iv := [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
	out := compress(iv, [64]byte{}, 0, 1|2|8)
	var b []byte
	for _, word := range out {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	same(t, "the hash of nothing", b, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
	var context [64]byte
	n := copy(context[:], "iroh-relay handshake v1 challenge signature")
	if got := compress(iv, context, uint32(n), 1|2|8|32); got != challengeKey() {
		t.Errorf("the key of the context is %08x", got)
	}
}
