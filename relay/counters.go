package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"barid/internal/metrics"
)

// counters are the relay's, under the names that the reference has for them
// where it has one; those of ours that end in "_total" have that twice in its
// metrics, and here.
type counters struct {
	bytesSent, bytesRecv                       prometheus.Counter
	packetsSent, packetsRecv                   prometheus.Counter
	othersSent, othersRecv, othersDropped      prometheus.Counter
	gotPing, sentPong, unknown                 prometheus.Counter
	discoSent, discoRecv, discoDropped         prometheus.Counter
	limited, limitedBytes, limitedFrames       prometheus.Counter
	streams, websockets                        prometheus.Counter
	requests, requestsOver, requestsFailed     prometheus.Counter
	accepts, disconnects, uniqueKeys           prometheus.Counter
	inactiveAdded, inactiveRemoved             prometheus.Counter
	noPeer, queueFull, untranslatable, noSpace prometheus.Counter
	left                                       prometheus.Counter
	logins, refusals                           *prometheus.CounterVec
}

func newCounters(m *metrics.Registry) counters {
	dropped := m.Counters("relayserver_send_packets_dropped_total", "Packets between iroh clients that were dropped, by reason.", "reason")
	c := func(name, help string) prometheus.Counter { return m.Counter("relayserver_"+name+"_total", help) }
	return counters{
		bytesSent:       c("bytes_sent", "Octets of packets sent to iroh clients."),
		bytesRecv:       c("bytes_recv", "Octets of packets received from iroh clients."),
		packetsSent:     c("send_packets_sent", "Packets put on their way to iroh clients."),
		packetsRecv:     c("send_packets_recv", "Packets received from iroh clients."),
		othersSent:      c("other_packets_sent", "Frames other than packets put on their way to iroh clients."),
		othersRecv:      c("other_packets_recv", "Frames other than packets received from iroh clients."),
		othersDropped:   c("other_packets_dropped", "Frames other than packets dropped because an iroh client reads too slowly."),
		gotPing:         c("got_ping", "Pings of iroh clients."),
		sentPong:        c("sent_pong", "Pings of iroh clients that were answered."),
		unknown:         c("unknown_frames", "Frames of a type that the relay does not know."),
		discoSent:       c("disco_packets_sent", "Those of send_packets_sent with which iroh clients look for a direct way."),
		discoRecv:       c("disco_packets_recv", "Those of send_packets_recv with which iroh clients look for a direct way."),
		discoDropped:    c("disco_packets_dropped", "Those of send_packets_dropped with which iroh clients look for a direct way."),
		limited:         c("conns_rx_ratelimited_total", "Connections of iroh clients that sent more than they may."),
		limitedBytes:    c("bytes_rx_ratelimited_total", "Octets after which an iroh client had to wait, as it sent more than it may."),
		limitedFrames:   c("frames_rx_ratelimited_total", "Frames that came later, as an iroh client sent more than it may."),
		streams:         c("relay_accepts", "Upgrades of iroh clients of the first generation."),
		websockets:      c("websocket_accepts", "Upgrades of iroh clients to a websocket."),
		requests:        c("http_connections", "Connections that asked for the iroh relay."),
		requestsOver:    c("http_connections_closed", "Ends of such connections, and requests that were refused."),
		requestsFailed:  c("http_connections_errored", "Those of http_connections_closed that did not come to a login after the upgrade, or broke the protocol."),
		accepts:         c("accepts", "Connections of iroh clients that logged in."),
		disconnects:     c("disconnects", "Ends of such connections."),
		uniqueKeys:      c("unique_client_keys", "Logins with a key that was not connected."),
		inactiveAdded:   c("clients_inactive_added", "Connections that a newer one of the same key replaced."),
		inactiveRemoved: c("clients_inactive_removed", "Replaced connections that ended or became active again."),
		noPeer:          dropped.WithLabelValues("no such peer"),
		queueFull:       dropped.WithLabelValues("queue full"),
		untranslatable:  dropped.WithLabelValues("not for this peer"),
		noSpace:         dropped.WithLabelValues("memory"),
		left:            dropped.WithLabelValues("peer left"),
		logins:          m.Counters("relayserver_logins_total", "Logins of iroh clients, by protocol and way.", "protocol", "login"),
		refusals:        m.Counters("relayserver_refused_total", "Connections that did not come to a login, by reason.", "reason"),
	}
}

// drop counts a packet that is dropped for a reason.
func (c *counters) drop(reason prometheus.Counter, disco bool) {
	reason.Inc()
	if disco {
		c.discoDropped.Inc()
	}
}
