// The witness: counts what a client exchanges with each port of its servers, at the client's end of the cable.
//
// It shares nothing with the product: another language and compiler, another way to read packets, another layout. It
// needs no header either: what it uses of the kernel's interface is spelled out here.
//
// What arrives must be as it was on the wire, so offloads are off; a packet longer than a wire's is noted at port 0 and
// spoils the truth. What leaves is seen before the kernel cuts it up all the same, with the kernel's own word for how
// much it will be on the wire.

#define SECTION(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// struct __sk_buff, as far as it goes here.
struct context {
	u32 length;
	u32 others[39];
	u32 wire_length; // with the link header of each segment
	u32 segments;    // 0 where the packet is a single one
};

struct traffic {
	u64 to_server_bytes;
	u64 to_server_packets;
	u64 to_client_bytes;
	u64 to_client_packets;
};

enum {
	ARRAY_MAP = 2,
	NEXT = -1, // TC_ACT_UNSPEC and TCX_NEXT alike
	LINK_HEADER = 14,
	LONGEST_PACKET = 1500,
	TCP = 6,
	UDP = 17,
};

struct {
	int (*type)[ARRAY_MAP];
	u32 *key;
	struct traffic *value;
	int (*max_entries)[65536];
} passed SECTION(".maps");

static void *(*const lookup)(void *map, const void *key) = (void *)1;
static long (*const load)(const void *packet, u32 offset, void *to, u32 length) = (void *)26;

ALWAYS_INLINE u32 number(const u8 *bytes)
{
	return (u32)bytes[0] << 8 | bytes[1];
}

ALWAYS_INLINE int count(const struct context *packet, int to_server)
{
	u8 ip[20], ports[4];
	u32 bytes, header, protocol, port, packets = 1;
	struct traffic *traffic;

	if (load(packet, LINK_HEADER, ip, sizeof(ip)))
		return NEXT;
	switch (ip[0] >> 4) {
	case 4:
		bytes = number(ip + 2);
		header = (ip[0] & 15) * 4;
		protocol = ip[9];
		break;
	case 6:
		bytes = number(ip + 4) + 40;
		header = 40;
		protocol = ip[6];
		break;
	default:
		return NEXT;
	}
	if (protocol != TCP && protocol != UDP)
		return NEXT;
	if (load(packet, LINK_HEADER + header, ports, sizeof(ports)))
		return NEXT;
	port = number(to_server ? ports + 2 : ports);
	if (to_server && packet->segments > 1) {
		packets = packet->segments;
		bytes = packet->wire_length - packets * LINK_HEADER;
	} else if (bytes > LONGEST_PACKET) {
		port = 0;
	}
	traffic = lookup(&passed, &port);
	if (!traffic)
		return NEXT;
	__sync_fetch_and_add(to_server ? &traffic->to_server_bytes : &traffic->to_client_bytes, bytes);
	__sync_fetch_and_add(to_server ? &traffic->to_server_packets : &traffic->to_client_packets, packets);
	return NEXT;
}

SECTION("classifier/egress")
int count_to_server(const struct context *packet)
{
	return count(packet, 1);
}

SECTION("classifier/ingress")
int count_to_client(const struct context *packet)
{
	return count(packet, 0);
}

char declared_license[] SECTION("license") = "GPL";
