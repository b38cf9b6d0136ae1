package relay

import (
	"testing"

	"barid/relay/wire"
)

// What a packet costs beside the network and TLS: cut, parsed, found a way,
// encoded, taken by the writer.
func BenchmarkPacket(b *testing.B) {
	for name, v := range map[string]struct{ from, to wire.Dialect }{
		"P3": {wire.P3, wire.P3}, "V2": {wire.V2, wire.V2}, "V2 to P3": {wire.V2, wire.P3}, "P3 to V2": {wire.P3, wire.V2},
	} {
		b.Run(name, func(b *testing.B) {
			s := New(Config{})
			from := &client{s: s, key: wire.Key{8}, dialect: v.from}
			to := &client{s: s, key: wire.Key{9}, dialect: v.to}
			for _, c := range []*client{from, to} {
				if c.dialect != wire.P3 {
					c.carriage = wire.WebSocket
				}
				c.messages.Max = c.dialect.Max()
				c.hold()
				s.hub.register(c)
			}
			data := make([]byte, 1200)
			if v.from == wire.P3 {
				data = list(string(data))
			}
			f := wire.Frame{Kind: wire.Datagrams, Key: to.key, Data: data}
			one := wire.AppendStream(nil, f)
			if v.from != wire.P3 {
				one = wire.AppendWSMasked(nil, wire.WSBinary, [4]byte{}, v.from.Append(nil, f, wire.FromClient))
			}
			b.SetBytes(1200)
			b.ReportAllocs()
			for i := range b.N {
				from.source.put(one)
				frame, err := from.frame()
				if err == nil {
					err = from.handle(frame)
				}
				if err != nil {
					b.Fatal(err)
				}
				from.source.release()
				if i%10 == 0 {
					for _, k := to.take(); k != nil; _, k = to.take() {
						to.free(k)
					}
					to.out.writing = true
				}
			}
		})
	}
}
