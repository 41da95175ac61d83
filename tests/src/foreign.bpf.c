// Somebody else's TC program, as other software on a user's host may bring one: it counts the IPv4 packets it sees
// and hands them on. It needs no header: what it uses of the kernel's interface is spelled out here.

#define SECTION(name) __attribute__((section(name), used))

typedef unsigned int u32;
typedef unsigned long long u64;

// The head of struct __sk_buff.
struct context {
	u32 length;
	u32 packet_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol; // in network order
};

enum { ARRAY_MAP = 2, IPV4_IN_NETWORK_ORDER = 0x0008, NEXT = -1, ACCEPT = 0, XDP_PASS = 2 };

struct {
	int (*type)[ARRAY_MAP];
	u32 *key;
	u64 *value;
	int (*max_entries)[1];
} seen SECTION(".maps");

static void *(*const lookup)(void *map, const void *key) = (void *)1;

SECTION("classifier")
int count_seen(struct context *packet)
{
	u32 first = 0;
	u64 *count = lookup(&seen, &first);

	if (count && packet->protocol == IPV4_IN_NETWORK_ORDER)
		__sync_fetch_and_add(count, 1);
	return NEXT; // TC_ACT_UNSPEC and TCX_NEXT alike
}

// Another one, less considerate: what it accepts is seen by no program after it.
SECTION("classifier/accept_all")
int accept_all(struct context *packet)
{
	return packet->length ? ACCEPT : NEXT;
}

// One that runs ahead of all others, and lets every packet pass.
SECTION("xdp")
int pass_all(void *packet)
{
	return XDP_PASS;
}

char declared_license[] SECTION("license") = "GPL";
